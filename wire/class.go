package wire

import (
	"bytes"
	"encoding/binary"
)

// Classes of bytes, one bit each in the class table.
const (
	classToken  = 1 << iota // tchar, RFC 9110 section 5.6.2
	classTarget             // a byte allowed in a request target
	classHost               // a byte allowed in a host name or address
	classHex                // HEXDIG
)

// class holds the classes of each byte.
var class = func() (t [256]byte) {
	mark := func(bytes string, c byte) {
		for i := range len(bytes) {
			t[bytes[i]] |= c
		}
	}
	const alnum = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	mark(alnum+"!#$%&'*+-.^_`|~", classToken)
	mark(alnum+"-._~", classHost)
	mark("0123456789abcdefABCDEF", classHex)
	for b := 0x21; b < 0x7f; b++ {
		// A fragment is never sent (RFC 9110 section 7.1).
		if b != '#' {
			t[b] |= classTarget
		}
	}
	return t
}()

// IsToken reports whether s is a token (RFC 9110 section 5.6.2).
func IsToken(s string) bool { return s != "" && all([]byte(s), classToken) }

// all reports whether every byte of s is in class c.
func all(s []byte, c byte) bool {
	for _, b := range s {
		if class[b]&c == 0 {
			return false
		}
	}
	return true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// cleanValue reports whether s holds no control character but HTAB, eight
// bytes at a time (RFC 9110 section 5.5: VCHAR, obs-text, SP and HTAB).
func cleanValue(s []byte) bool {
	for len(s) >= 8 {
		w := binary.LittleEndian.Uint64(s)
		low := (w - ones*0x20) &^ w & highs // a byte below 0x20
		del := w ^ ones*0x7f
		del = (del - ones) &^ del & highs // a byte equal to 0x7f
		if low|del != 0 && !cleanBytes(s[:8]) {
			return false
		}
		s = s[8:]
	}
	return cleanBytes(s)
}

func cleanBytes(s []byte) bool {
	for _, b := range s {
		if (b < 0x20 && b != '\t') || b == 0x7f {
			return false
		}
	}
	return true
}

// EqualFold reports whether s is lower, which must be lower-case ASCII
// letters, digits and dashes, without regard to case.
func EqualFold(s []byte, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i, b := range s {
		if b != lower[i] && (b|0x20 != lower[i] || b < 'A' || b > 'Z') {
			return false
		}
	}
	return true
}

// HasToken reports whether the comma-separated list value has the element
// lower, without regard to case.
func HasToken(value []byte, lower string) bool {
	for len(value) > 0 {
		var element []byte
		element, value = nextElement(value)
		if EqualFold(element, lower) {
			return true
		}
	}
	return false
}

// AmongTokens reports whether every element of value is an element of list, without
// regard to case.
func AmongTokens(value, list []byte) bool {
	for len(value) > 0 {
		var element []byte
		element, value = nextElement(value)
		found := false
		for rest := list; len(rest) > 0 && !found; {
			var other []byte
			other, rest = nextElement(rest)
			found = bytes.EqualFold(element, other)
		}
		if !found {
			return false
		}
	}
	return true
}

// nextElement cuts the first element off a comma-separated list.
func nextElement(list []byte) (element, rest []byte) {
	for i, b := range list {
		if b == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), nil
}

// trim removes optional white space, SP and HTAB, at both ends.
func trim(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

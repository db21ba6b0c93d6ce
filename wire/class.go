package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
)

// Classes of bytes, one bit each in the class table.
const (
	classToken  = 1 << iota // tchar, RFC 9110 section 5.6.2
	classTarget             // a byte allowed in a request target
	classHost               // a byte allowed in a host name or address
	classHex                // HEXDIG
	classPunct              // neither a letter nor a digit nor a dash
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
	for b := range t {
		if !strings.Contains(alnum+"-", string(rune(b))) {
			t[b] |= classPunct
		}
	}
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

// token returns the length of the token at the start of s, and all classes of its
// bytes.
func token(s []byte) (n int, classes byte) {
	for i, b := range s {
		c := class[b]
		if c&classToken == 0 {
			return i, classes
		}
		classes |= c
	}
	return len(s), classes
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// cleanValue reports whether s has no control character except HTAB (RFC 9110 section
// 5.5: VCHAR, obs-text, SP and HTAB).
func cleanValue(s []byte) bool {
	for {
		n := firstControl(s)
		if n == len(s) {
			return true
		}
		if s[n] != '\t' {
			return false
		}
		s = s[n+1:]
	}
}

// firstControl returns the index of the first control character, HTAB among them, or
// len(s) for none. It looks at eight bytes at a time.
func firstControl(s []byte) int {
	for i := 0; i <= len(s)-8; i += 8 {
		if found := controls(word(s[i:])); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i := len(s) &^ 7; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return i
		}
	}
	return len(s)
}

// controls has the highest bit of each byte of w that is a control character. Plus one,
// and without that bit, these are below 0x21, and DEL is zero.
func controls(w uint64) uint64 {
	const rest = ^uint64(highs)
	return highs &^ (((w&rest+ones)&rest + ones*(0x80-0x21)) | w)
}

// colons has the highest bit of each byte of w that is a colon, and perhaps of some that
// follow one.
func colons(w uint64) uint64 {
	w ^= ones * ':'
	return (w - ones) &^ w & highs
}

// EqualFold reports whether s equals lower, without regard to case. Lower must be ASCII
// without upper-case letters, and without any of `{|}~.
func EqualFold(s []byte, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	switch {
	case len(s) >= 8:
	case len(s) >= 4:
		last := len(s) - 4 // overlaps the first four, unless there are eight
		return equalWord(halfWord(s)|halfWord(s[last:])<<32, halfWordOf(lower)|halfWordOf(lower[last:])<<32)
	default:
		for i, b := range s {
			if !equalWord(uint64(b), uint64(lower[i])) {
				return false
			}
		}
		return true
	}
	last := len(s) - 8 // overlaps bytes that were compared, unless there are just eight
	for i := 0; i < last; i += 8 {
		if !equalWord(word(s[i:]), wordOf(lower[i:])) {
			return false
		}
	}
	return equalWord(word(s[last:]), wordOf(lower[last:]))
}

// equalWord is EqualFold for eight bytes at once. Only the bit 0x20 may differ, and
// only where lower has a letter: in ASCII that has both 0x40 and 0x20.
func equalWord(s, lower uint64) bool {
	return (s^lower)&^(lower&(ones*0x40)>>1&lower) == 0
}

// word and halfWord return the first eight and four bytes of s as a number.
func word(s []byte) uint64     { return binary.LittleEndian.Uint64(s) }
func halfWord(s []byte) uint64 { return uint64(binary.LittleEndian.Uint32(s)) }

// wordOf and halfWordOf are the same for a string.
func wordOf(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func halfWordOf(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

// HasToken reports whether a comma-separated list has the element lower, without regard
// to case.
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

// AmongTokens reports whether every element of value is also an element of list,
// without regard to case.
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

// trim removes optional white space, SP and HTAB, at both ends. Most values have one blank
// before them.
func trim(s []byte) []byte {
	if len(s) > 1 && s[0] == ' ' && s[1] > ' ' && s[len(s)-1] > ' ' {
		return s[1:]
	}
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

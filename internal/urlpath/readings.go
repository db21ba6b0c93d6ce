package urlpath

import (
	"bytes"
	"math/bits"
)

// Plain reports whether every server reads path as it is written: there are no encoded
// bytes, backslashes, parameters, empty segments or dot segments in it.
func Plain(path []byte) bool {
	for i, b := range path {
		switch b {
		case '%', '\\', ';':
			return false
		case '/':
			if i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
				return false
			}
		}
	}
	return true
}

// reading is a way in which a server may read a path.
type reading uint8

const (
	withoutParams reading = 1 << iota // what follows a semicolon in a segment is no part of it
	merged                            // several slashes are one
	literal                           // dot segments are segments like any other
	authority                         // what follows two slashes is a host
	decoded                           // %XX is the byte
	backslashes                       // a backslash is a slash
	cut                               // it ends where a NUL, a question mark or a fragment was encoded

	bytewise = decoded | backslashes | cut
	all      = bytewise | withoutParams | merged | literal | authority
)

// Readings returns the paths as which servers may take a path: with or without each of the
// readings that make a difference. What is encoded twice is decoded once. Each is valid
// until the next one. Plain says that nothing in it is encoded any more.
func Readings(path []byte) func(yield func(read []byte, plain bool) bool) {
	return func(yield func([]byte, bool) bool) {
		var first, second [256]byte
		plain, resolved := first[:0], second[:0]
		possible := possibleReadings(path)
		last := reading(1) // which is not bytewise: nothing is decoded yet
		for n := range int(all) + 1 {
			r := reading(n)
			if r&^possible != 0 {
				continue
			}
			if r&bytewise != last {
				last, plain = r&bytewise, appendDecoded(plain[:0], path, r)
			}
			resolved = appendResolved(resolved[:0], plain, r)
			if !yield(resolved, r&decoded == possible&decoded) {
				return
			}
		}
	}
}

// Count bounds from above how many Readings path has.
func Count(path []byte) int { return 1 << bits.OnesCount8(uint8(possibleReadings(path))) }

// Segments bounds the segments that some reading of path has from above.
func Segments(path []byte) int {
	n := 1
	for i, b := range path {
		switch {
		case b == '/', b == '\\':
			n++
		case b == '%' && i+2 < len(path):
			if c := Hex(path[i+1])<<4 | Hex(path[i+2])&15; c == '/' || c == '\\' {
				n++
			}
		}
	}
	return n
}

// possibleReadings are those that make a difference for a path, or may.
func possibleReadings(path []byte) (r reading) {
	if bytes.IndexByte(path, '%') >= 0 {
		r |= decoded
	}
	has := func(plain byte, encoded string) bool {
		return bytes.IndexByte(path, plain) >= 0 || r&decoded != 0 && contains(path, encoded)
	}
	if has('\\', "%5c") || has('\\', "%5C") {
		r |= backslashes
	}
	if has(';', "%3b") || has(';', "%3B") {
		r |= withoutParams
	}
	if contains(path, "//") || r&(backslashes|withoutParams) != 0 || contains(path, "%2f") || contains(path, "%2F") {
		r |= merged
	}
	if HasDots(path) {
		r |= literal
	}
	if len(path) > 1 && (path[1] == '/' || path[1] == '\\') {
		r |= authority // to who parses it as a URL, as Node's new URL(path, base) does
	}
	if r&decoded != 0 && (contains(path, "%00") || contains(path, "%23") || contains(path, "%3f") || contains(path, "%3F")) {
		r |= cut
	}
	return r
}

func contains(path []byte, s string) bool { return bytes.Contains(path, []byte(s)) }

// appendDecoded appends path with what r says of single bytes.
func appendDecoded(dst, path []byte, r reading) []byte {
	for i := 0; i < len(path); i++ {
		b := path[i]
		if b == '%' && r&decoded != 0 && i+2 < len(path) {
			if high, low := Hex(path[i+1]), Hex(path[i+2]); high < 16 && low < 16 {
				b, i = high<<4|low, i+2
				if r&cut != 0 && (b == 0 || b == '#' || b == '?') {
					return dst
				}
			}
		}
		if b == '\\' && r&backslashes != 0 {
			b = '/'
		}
		dst = append(dst, b)
	}
	return dst
}

// appendResolved appends path with what r says of segments.
func appendResolved(dst, path []byte, r reading) []byte {
	begin := len(dst)
	if rest := bytes.TrimLeft(path, "/"); r&authority != 0 && len(path) > len(rest)+1 {
		path = rest[min(uint(bytes.IndexByte(rest, '/')), uint(len(rest))):]
	}
	for len(path) > 0 {
		path = path[1:] // the slash
		segment, rest := path, []byte(nil)
		if i := bytes.IndexByte(path, '/'); i >= 0 {
			segment, rest = path[:i], path[i:]
		}
		path = rest
		if i := bytes.IndexByte(segment, ';'); i >= 0 && r&withoutParams != 0 {
			segment = segment[:i]
		}
		if r&literal == 0 {
			switch dots(segment) {
			case 1:
				continue
			case 2:
				dst = dst[:max(begin, bytes.LastIndexByte(dst, '/'))]
				continue
			}
		}
		if len(segment) > 0 || len(rest) == 0 || r&merged == 0 {
			dst = append(append(dst, '/'), segment...)
		}
	}
	if len(dst) == begin {
		dst = append(dst, '/')
	}
	return dst
}

// Hex returns the value of a hexadecimal digit, 16 for what is none.
func Hex(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return b - '0'
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		return b | 0x20 - 'a' + 10
	}
	return 16
}

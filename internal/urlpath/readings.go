package urlpath

import "bytes"

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

// reading is a way in which a server may read a path, besides resolving dot segments.
type reading uint8

const (
	withoutParams reading = 1 << iota // what follows a semicolon in a segment is no part of it
	merged                            // several slashes are one
	decoded                           // %XX is the byte
	backslashes                       // a backslash is a slash

	bytewise = decoded | backslashes
)

// Readings returns the paths as which servers may take a path that is not Plain: with or
// without each of the readings that make a difference, and with dot segments resolved.
// What is encoded twice is decoded once. Each is valid until the next one.
func Readings(path []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		var first, second [256]byte
		plain, resolved := first[:0], second[:0]
		possible := possibleReadings(path)
		last := reading(1) // which is not bytewise: nothing is decoded yet
		for r := reading(0); r <= bytewise|withoutParams|merged; r++ {
			if r&^possible != 0 {
				continue
			}
			if r&bytewise != last {
				last, plain = r&bytewise, appendDecoded(plain[:0], path, r)
			}
			resolved = appendResolved(resolved[:0], plain, r)
			if !yield(resolved) {
				return
			}
		}
	}
}

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
		return bytes.IndexByte(path, plain) >= 0 || r&decoded != 0 && bytes.Contains(path, []byte(encoded))
	}
	if has('\\', "%5c") || has('\\', "%5C") {
		r |= backslashes
	}
	if has(';', "%3b") || has(';', "%3B") {
		r |= withoutParams
	}
	if bytes.Contains(path, []byte("//")) || r&(backslashes|withoutParams) != 0 || bytes.Contains(path, []byte("%2f")) || bytes.Contains(path, []byte("%2F")) {
		r |= merged
	}
	return r
}

// appendDecoded appends path with what r says of single bytes.
func appendDecoded(dst, path []byte, r reading) []byte {
	for i := 0; i < len(path); i++ {
		b := path[i]
		if b == '%' && r&decoded != 0 && i+2 < len(path) {
			if high, low := Hex(path[i+1]), Hex(path[i+2]); high < 16 && low < 16 {
				b, i = high<<4|low, i+2
			}
		}
		if b == '\\' && r&backslashes != 0 {
			b = '/'
		}
		dst = append(dst, b)
	}
	return dst
}

// appendResolved appends path with what r says of segments, and without dot segments.
func appendResolved(dst, path []byte, r reading) []byte {
	begin := len(dst)
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
		switch dots(segment) {
		case 1:
			continue
		case 2:
			dst = dst[:max(begin, bytes.LastIndexByte(dst, '/'))]
			continue
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

package urlpath

import "bytes"

// AppendNormal appends a path in the one spelling of all that nearly every server takes for the
// same (RFC 3986 section 6.2.2): what is encoded is decoded, once, but for what separates or
// ends something where it is not encoded, of which the digits become upper-case.
func AppendNormal(dst, path []byte) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(path); i++ {
		b, encoded := at(path, i)
		switch {
		case !encoded:
			dst = append(dst, b)
			continue
		case separates(b):
			dst = append(dst, '%', digits[b>>4], digits[b&15])
		default:
			dst = append(dst, b)
		}
		i += 2
	}
	return dst
}

// NormalLen returns the length of what AppendNormal appends.
func NormalLen(path string) int {
	n := len(path)
	for i := 0; i < len(path); i++ {
		if b, encoded := at(path, i); encoded {
			if !separates(b) {
				n -= 2
			}
			i += 2
		}
	}
	return n
}

// at returns the byte of a path that begins at i, and whether it is encoded.
func at[T string | []byte](path T, i int) (b byte, encoded bool) {
	if path[i] == '%' && i+2 < len(path) {
		if high, low := Hex(path[i+1]), Hex(path[i+2]); high < 16 && low < 16 {
			return high<<4 | low, true
		}
	}
	return path[i], false
}

// separates reports whether a byte means something else where it is not encoded.
func separates(b byte) bool { return b == 0 || bytes.IndexByte([]byte(`/\;?#%`), b) >= 0 }

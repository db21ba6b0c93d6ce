package urlpath

import "bytes"

// Unreserved returns path with those octets decoded that need not be encoded: letters,
// digits and -._~ (RFC 3986 section 2.3). It is equivalent to path for everybody (section
// 6.2.2.2). What is encoded twice is decoded once. It returns path itself where nothing is to be done.
func Unreserved(path []byte) []byte {
	if bytes.IndexByte(path, '%') < 0 {
		return path
	}
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		b := path[i]
		if b == '%' && i+2 < len(path) {
			high, low := Hex(path[i+1]), Hex(path[i+2])
			if c := high<<4 | low; high < 16 && low < 16 && isUnreserved(c) {
				b, i = c, i+2
			}
		}
		decoded = append(decoded, b)
	}
	return decoded
}

func isUnreserved(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~'
}

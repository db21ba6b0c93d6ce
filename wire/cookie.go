package wire

import (
	"bytes"
	"iter"
)

// Cookies returns the name and the value of each cookie of a request, in the order in
// which they came (RFC 6265 section 4.2). They may be in several fields (RFC 9113
// section 8.2.3). Parts without "=" are skipped.
func Cookies(fields []Field) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := range fields {
			if fields[i].Kind != Cookie {
				continue
			}
			for rest := fields[i].Value; len(rest) > 0; {
				var pair []byte
				pair, rest, _ = bytes.Cut(rest, []byte{';'})
				name, value, ok := bytes.Cut(bytes.Trim(pair, " \t"), []byte{'='})
				if ok && !yield(name, value) {
					return
				}
			}
		}
	}
}

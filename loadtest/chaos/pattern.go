package chaos

import (
	"encoding/binary"
	"fmt"
)

// A body's bytes follow from the ID of its request and their place, so that a
// byte of another request, or in another place, is seen at once.

// answerOf makes the ID of an answer's body of its request's.
func answerOf(id uint64) uint64 { return ^id }

// word returns eight bytes of a body: splitmix64, seeded by its ID.
func word(id uint64, n int64) uint64 {
	z := id*0x9e3779b97f4a7c15 + uint64(n+1)*0xbf58476d1ce4e5b9
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// appendPattern appends size bytes of a body, from offset on.
func appendPattern(b []byte, id uint64, offset int64, size int) []byte {
	var eight [8]byte
	for size > 0 {
		binary.LittleEndian.PutUint64(eight[:], word(id, offset/8))
		part := eight[offset%8:]
		part = part[:min(size, len(part))]
		b = append(b, part...)
		offset += int64(len(part))
		size -= len(part)
	}
	return b
}

// checked compares a body with its pattern as it comes.
type checked struct {
	id    uint64
	n     int64  // bytes that came
	wrong string // what is wrong with the first byte that is, empty for nothing
}

func (c *checked) take(p []byte) {
	if c.wrong == "" {
		var eight [8]byte
		for i := range p {
			at := c.n + int64(i)
			if i == 0 || at%8 == 0 {
				binary.LittleEndian.PutUint64(eight[:], word(c.id, at/8))
			}
			if p[i] != eight[at%8] {
				c.wrong = fmt.Sprintf("byte %d is 0x%02x, sent was 0x%02x (%q)", at, p[i], eight[at%8], p[i:min(len(p), i+40)])
				break
			}
		}
	}
	c.n += int64(len(p))
}

package coding

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// light is gzip that has no tables of what came before: it takes a twentieth of the
// memory, and leaves a tenth more of a body. Bytes that come in small pieces are coded
// with the last few KiB before them in view.
type light struct {
	out    io.Writer
	block  [lightBlock]byte
	seen   int // bytes of block that were coded before
	filled int // bytes of block that there are
	sum    uint32
	size   uint32
	begun  bool
}

// Bytes that are coded at once, with those of what came before, and how many of these
// are kept. What is coded goes out only when that is done, since the library's tables are
// in use meanwhile, and a client may take long: so out must take lightMost bytes at once.
const (
	lightBlock = 16 << 10
	lightKept  = 4 << 10
	lightMost  = lightBlock + 1<<10
)

var _ writer = (*light)(nil)

func newLight(out io.Writer) *light { return &light{out: out} }

// Reset begins another body.
func (l *light) Reset(out io.Writer) {
	l.out, l.seen, l.filled, l.sum, l.size, l.begun = out, 0, 0, 0, 0, false
}

// Write takes bytes, and codes whenever there are enough of them.
func (l *light) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if l.filled == len(l.block) {
			if err := l.Flush(); err != nil {
				return n, err
			}
		}
		took := copy(l.block[l.filled:], p)
		l.sum = crc32.Update(l.sum, crc32.IEEETable, p[:took])
		l.size += uint32(took) // modulo 2^32 (RFC 1952 section 2.3.1)
		l.filled += took
		n, p = n+took, p[took:]
	}
	return n, nil
}

// Flush codes all that there is.
func (l *light) Flush() error {
	if err := l.begin(); err != nil || l.filled == l.seen {
		return err
	}
	fresh, before := l.block[l.seen:l.filled], l.block[:l.seen]
	if len(fresh) >= lightKept {
		before = nil // hardly worth it, and the library takes memory for both
	}
	if err := flate.StatelessDeflate(l.out, fresh, false, before); err != nil {
		return err
	}
	l.seen = copy(l.block[:], l.block[max(0, l.filled-lightKept):l.filled])
	l.filled = l.seen
	return nil
}

// begin writes the header (RFC 1952 section 2.3): no name, no time, no system.
func (l *light) begin() error {
	if l.begun {
		return nil
	}
	l.begun = true
	_, err := l.out.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	return err
}

// Close codes what is left, and ends the body.
func (l *light) Close() error {
	if err := l.Flush(); err != nil {
		return err
	}
	if err := flate.StatelessDeflate(l.out, nil, true, nil); err != nil {
		return err
	}
	end := binary.LittleEndian.AppendUint32(make([]byte, 0, 8), l.sum)
	_, err := l.out.Write(binary.LittleEndian.AppendUint32(end, l.size))
	return err
}

package proxy

import (
	"bytes"
	"encoding/base64"
	"io"
	"testing"

	"serai/wire"
)

// pieces is a body that comes in pieces of a size.
type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Next() ([]byte, error) {
	if len(p.rest) == 0 {
		return nil, io.EOF
	}
	n := min(p.size, len(p.rest))
	data := p.rest[:n]
	p.rest = p.rest[n:]
	return data, nil
}

func (p *pieces) Gather() (bool, error)  { return false, nil }
func (p *pieces) Holds() int64           { return 0 }
func (p *pieces) Ready() bool            { return len(p.rest) > 0 }
func (p *pieces) Done() bool             { return len(p.rest) == 0 }
func (p *pieces) Trailers() []wire.Field { return nil }
func (p *pieces) Interrupt()             {}

// FuzzWebText: however a body in base64 is cut into pieces, it is decoded as group by group, or
// refused.
func FuzzWebText(f *testing.F) {
	f.Add([]byte("AAAA"), uint8(1))
	f.Add([]byte("AA==AAA=AAAA"), uint8(3))
	f.Add([]byte("AA\nAA\nAA=="), uint8(5))
	f.Add([]byte("=AAAA==="), uint8(4))
	f.Add([]byte("AAAAA"), uint8(9))
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		var want []byte
		bad := len(text)%4 != 0 || bytes.ContainsAny(text, "\r\n")
		for part := text; !bad && len(part) > 0; part = part[4:] {
			var err error
			want, err = base64.StdEncoding.AppendDecode(want, part[:4])
			bad = err != nil
		}
		w := &web{from: &pieces{rest: bytes.Clone(text), size: int(size) + 1}}
		var got []byte
		var err error
		for err == nil {
			var data []byte
			if data, err = w.Next(); err == nil && len(data) == 0 {
				t.Fatal("it gives nothing and goes on")
			}
			got = append(got, data...)
		}
		if refused := err == errWebText; refused != bad || !refused && (err != io.EOF || !bytes.Equal(got, want) || !w.Done()) {
			t.Errorf("%q in pieces of %d is %q, %v; want %q, bad %v", text, int(size)+1, got, err, want, bad)
		}
		if _, again := w.Next(); again != err {
			t.Errorf("asked again it says %v after %v", again, err)
		}
	})
}

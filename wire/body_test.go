package wire

import (
	"io"
	"strings"
	"testing"
)

// arriving is a Source whose bytes are there when the test says so.
type arriving struct{ b []byte }

func (a *arriving) Buffered() []byte { return a.b }
func (a *arriving) Discard(n int)    { a.b = a.b[n:] }
func (a *arriving) Fill() error      { return io.ErrUnexpectedEOF }
func (a *arriving) EnlargeMore()     {}

// TestSmallChunksTogether: what has come of small chunks is handed out at once, and
// large ones are not moved.
func TestSmallChunksTogether(t *testing.T) {
	large := strings.Repeat("a", maxMoved+1)
	for name, c := range map[string]struct {
		sent string
		want []string
		end  error
	}{
		"three":                     {"1\r\na\r\n2\r\nbc\r\n1;x\r\nd\r\n0\r\n\r\n", []string{"abcd"}, io.EOF},
		"a thousand":                {strings.Repeat("1\r\nx\r\n", 1000) + "0\r\nX: y\r\n\r\n", []string{strings.Repeat("x", 1000)}, io.EOF},
		"a large one":               {"1\r\na\r\n801\r\n" + large + "\r\n1\r\nb\r\n0\r\n\r\n", []string{"a", large + "b"}, io.EOF},
		"a part of a large one":     {"1\r\na\r\n801\r\nbc", []string{"abc"}, io.ErrUnexpectedEOF},
		"a part of a size":          {"1\r\na\r\n2", []string{"a"}, io.ErrUnexpectedEOF},
		"a bad size behind":         {"1\r\na\r\nx", []string{"a"}, ErrChunkSize},
		"a bad end behind":          {"1\r\na\r\n1\r\nbc", []string{"ab"}, ErrChunkEnd},
		"bad trailers behind":       {"1\r\na\r\n0\r\nX\r\n\r\n", []string{"a"}, ErrTrailer},
		"an extension that is long": {"1\r\na\r\n1;" + strings.Repeat("x", maxChunkLine), []string{"a"}, ErrChunkExt},
	} {
		t.Run(name, func(t *testing.T) {
			var b Body
			b.Reset(&arriving{[]byte(c.sent)}, Chunked, 0, DefaultLimits())
			for _, want := range c.want {
				if b.Done() {
					t.Fatal("it has ended before its data")
				}
				if data, err := b.Next(); string(data) != want || err != nil {
					t.Fatalf("%.40q, %v; want %.40q", data, err, want)
				}
			}
			if data, err := b.Next(); err != c.end {
				t.Errorf("%q, %v; want %v", data, err, c.end)
			}
			if (c.end == io.EOF) != b.Done() {
				t.Errorf("done: %v", b.Done())
			}
		})
	}
}

// TestResume: a body whose read has failed goes on where it was.
func TestResume(t *testing.T) {
	var b Body
	a := &arriving{[]byte("abc")}
	b.Reset(a, Length, 5, DefaultLimits())
	if data, err := b.Next(); string(data) != "abc" || err != nil {
		t.Fatalf("%q, %v", data, err)
	}
	if _, err := b.Next(); err != io.ErrUnexpectedEOF {
		t.Fatalf("the error is %v", err)
	}
	a.b = []byte("de next")
	b.Resume()
	if data, err := b.Next(); string(data) != "de" || err != nil || !b.Done() || string(a.b) != " next" {
		t.Errorf("%q, %v, then %q; done: %v", data, err, a.b, b.Done())
	}
	if b.Resume(); !b.Done() {
		t.Error("the end was forgotten")
	}
}

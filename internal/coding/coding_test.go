package coding_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"serai/internal/coding"
	"serai/internal/memory"
)

// decode returns what of a coded body can be decoded, and whether it is whole.
func decode(t testing.TB, c coding.Coding, coded []byte) (body []byte, whole bool) {
	t.Helper()
	var r io.Reader
	var err error
	switch in := bytes.NewReader(coded); c {
	case coding.Zstd:
		d, wrong := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if r, err = d, wrong; err == nil {
			defer d.Close()
		}
	case coding.Brotli:
		r = brotli.NewReader(in)
	default:
		r, err = gzip.NewReader(in)
	}
	if err != nil {
		return nil, false
	}
	body, err = io.ReadAll(r)
	return body, err == nil
}

// text is a body of n bytes that can be coded well, or not at all.
func text(n int, random bool) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	b := make([]byte, 0, n+64)
	for len(b) < n {
		if random {
			b = append(b, byte(r.Uint32()))
		} else {
			b = fmt.Appendf(b, `{"id":%d,"name":"service-%d","ready":true},`, r.IntN(1e6), r.IntN(50))
		}
	}
	return b[:n]
}

// way is a way to take an Encoder.
type way struct {
	name    string
	coding  coding.Coding
	lasting bool
}

var ways = []way{{"zstd", coding.Zstd, false}, {"br", coding.Brotli, false}, {"gzip", coding.Gzip, false}, {"gzip-light", coding.Gzip, true}}

func take(t testing.TB, s *coding.Encoders, w way) (*coding.Encoder, *bytes.Buffer) {
	t.Helper()
	e, c := s.Take([]coding.Coding{w.coding}, nil, w.lasting)
	if e == nil || c != w.coding {
		t.Fatalf("there is no encoder for %s", w.name)
	}
	var out bytes.Buffer
	e.Begin(func(p []byte) error { out.Write(p); return nil })
	return e, &out
}

// TestCodings codes bodies that come in all kinds of pieces, with flushes and without,
// with Encoders that are used again: what is decoded is the same to the last byte, and
// after each flush all that came can be decoded.
func TestCodings(t *testing.T) {
	pieces := map[string]func(i int) int{
		"at once": func(int) int { return 1 << 30 }, "bytes": func(int) int { return 1 }, "100": func(int) int { return 100 },
		"4096": func(int) int { return 4096 }, "large": func(int) int { return 64 << 10 }, "mixed": func(i int) int { return 1 + i*i*37%5000 },
	}
	for _, w := range ways {
		s := coding.NewEncoders(0)
		for name, piece := range pieces {
			for _, flushes := range []bool{false, true} {
				for _, n := range []int{0, 1, 7, 1023, 4096, 12 << 10, 12<<10 + 1, 16 << 10, 40_000, 300_000} {
					if name == "bytes" && n > 2000 || name == "100" && n > 50_000 {
						continue
					}
					for _, random := range []bool{false, true} {
						body := text(n, random)
						e, out := take(t, s, w)
						for i, rest := 0, body; len(rest) > 0; i++ {
							took := min(len(rest), piece(i))
							if err := e.Write(rest[:took]); err != nil {
								t.Fatal(err)
							}
							rest = rest[took:]
							if !flushes {
								continue
							}
							if err := e.Flush(); err != nil {
								t.Fatal(err)
							}
							if i%17 > 0 {
								continue
							}
							if got, whole := decode(t, w.coding, out.Bytes()); whole || !bytes.Equal(got, body[:n-len(rest)]) {
								t.Fatalf("%s of %d bytes, %s: after a flush at %d, %d can be decoded, whole %v", w.name, n, name, n-len(rest), len(got), whole)
							}
						}
						if err := e.Finish(); err != nil {
							t.Fatal(err)
						}
						e.End()
						if got, whole := decode(t, w.coding, out.Bytes()); !whole || !bytes.Equal(got, body) {
							t.Fatalf("%s of %d bytes, %s, flushes %v, random %v: %d are decoded, whole %v", w.name, n, name, flushes, random, len(got), whole)
						}
						if !random && !flushes && n >= 4096 && out.Len() > n/2 {
							t.Errorf("%s: %d bytes become %d", w.name, n, out.Len())
						}
					}
				}
			}
		}
		if st := s.Status(); st.Memory != 0 || st.Uncompressed != 0 {
			t.Errorf("%s: %+v at the end", w.name, st)
		}
	}
}

// TestNumbers: what has few kinds of bytes and hardly a repetition becomes smaller, too. Of a
// short list, gzip's library codes no literals if nothing at all repeats.
func TestNumbers(t *testing.T) {
	for _, n := range []int{1500, 11_000} {
		body := numbers(n)
		for _, w := range ways {
			if w.name == "gzip" && n == 1500 {
				continue
			}
			e, out := take(t, coding.NewEncoders(0), w)
			if err := errors.Join(e.Write(body), e.Finish()); err != nil {
				t.Fatal(err)
			}
			e.End()
			if got, whole := decode(t, w.coding, out.Bytes()); !whole || !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes are decoded, whole %v", w.name, len(got), whole)
			}
			if out.Len() > len(body)*6/10 {
				t.Errorf("%s: %d bytes become %d", w.name, len(body), out.Len())
			}
		}
	}
}

// numbers is a list of so many in JSON.
func numbers(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := []byte("[")
	for range n {
		b = fmt.Appendf(b, "%d,", r.IntN(100_000))
	}
	b[len(b)-1] = ']'
	return b
}

// TestFlushOfNothing: a flush with nothing to send sends nothing.
func TestFlushOfNothing(t *testing.T) {
	for _, w := range ways {
		e, out := take(t, coding.NewEncoders(0), w)
		e.Flush()
		if out.Len() > 0 {
			t.Errorf("%s sends %q for nothing", w.name, out)
		}
		e.Write([]byte("something"))
		e.Flush()
		n := out.Len()
		e.Flush()
		if out.Len() != n {
			t.Errorf("%s sends %q more", w.name, out.Bytes()[n:])
		}
		e.Finish()
		e.End()
	}
}

var errGone = errors.New("gone")

// TestClientThatLeaves: the error of what is written to comes back, at the latest with the
// end, nothing more is written, and the Encoder serves another body.
func TestClientThatLeaves(t *testing.T) {
	for _, w := range ways {
		s := coding.NewEncoders(0)
		for after := range 4 {
			e, _ := s.Take([]coding.Coding{w.coding}, nil, w.lasting)
			writes := 0
			e.Begin(func([]byte) error {
				if writes++; writes > after {
					return errGone
				}
				return nil
			})
			var err error
			for i := range 20 {
				if err = e.Write(text(20_000+i, true)); err != nil {
					break
				}
			}
			if err == nil {
				err = e.Finish()
			}
			e.End()
			if !errors.Is(err, errGone) || writes != after+1 {
				t.Errorf("%s: %v after %d writes, want an error at %d", w.name, err, writes, after+1)
			}
			e, out := take(t, s, w)
			e.Write([]byte("another body"))
			e.Finish()
			e.End()
			if got, whole := decode(t, w.coding, out.Bytes()); string(got) != "another body" || !whole {
				t.Errorf("%s: the next body is %q, whole %v", w.name, got, whole)
			}
		}
	}
}

// TestCutBody: what is not finished is not whole.
func TestCutBody(t *testing.T) {
	for _, w := range ways {
		e, out := take(t, coding.NewEncoders(0), w)
		e.Write(text(50_000, false))
		e.Flush()
		e.End()
		if got, whole := decode(t, w.coding, out.Bytes()); whole || !bytes.Equal(got, text(50_000, false)) {
			t.Errorf("%s: %d bytes, whole %v", w.name, len(got), whole)
		}
	}
}

// TestMemoryIsBounded: clients that keep their Encoders get what is left, then gzip that
// takes little, then none. One who comes late still gets one, and all is given back.
func TestMemoryIsBounded(t *testing.T) {
	const limit = 16 << 20
	s := coding.NewEncoders(limit)
	all := coding.Codings()
	var held []*coding.Encoder
	var greedy, late memory.Client
	got := make(map[coding.Coding]int)
	for {
		e, c := s.Take(all, &greedy, false)
		if e == nil {
			break
		}
		got[c]++
		held = append(held, e)
	}
	st := s.Status()
	if st.Memory > limit/2 || st.Limit != limit || st.Uncompressed != 1 || got[coding.Zstd] < 5 || got[coding.Gzip] < 40 {
		t.Errorf("%+v, encoders %v", st, got)
	}
	if e, c := s.Take(all, &late, false); e == nil || c != coding.Zstd {
		t.Error("one who comes late gets nothing")
	} else {
		e.End()
	}
	if e, _ := s.Take([]coding.Coding{coding.Zstd}, &greedy, false); e != nil {
		t.Error("the greedy one gets another one")
	}
	for _, e := range held {
		e.End()
	}
	if st := s.Status(); st.Memory != 0 || st.Uncompressed != 2 {
		t.Errorf("%+v at the end", st)
	}
	for range 1000 { // many clients, who keep one each
		var c memory.Client
		if e, _ := s.Take(all, &c, false); e != nil {
			held = append(held, e)
		}
	}
	if st := s.Status(); st.Memory > limit {
		t.Errorf("%+v", st)
	}
}

// TestLastingTakesLittle: a stream is coded by what takes little, unless its client takes
// something else alone.
func TestLastingTakesLittle(t *testing.T) {
	s := coding.NewEncoders(0)
	e, c := s.Take([]coding.Coding{coding.Gzip, coding.Zstd}, nil, true)
	if e == nil || c != coding.Gzip {
		t.Fatalf("got %v", c)
	}
	if n := s.Status().Memory; n > 64<<10 {
		t.Errorf("it takes %d bytes", n)
	}
	e.End()
	if e, c = s.Take([]coding.Coding{coding.Brotli}, nil, true); e == nil || c != coding.Brotli {
		t.Fatalf("got %v", c)
	}
	e.End()
}

// TestMemoryOfEncoders: no Encoder takes more than it is counted for.
func TestMemoryOfEncoders(t *testing.T) {
	body := text(512<<10, false)
	for _, w := range ways {
		s := coding.NewEncoders(1 << 30)
		e, _ := take(t, s, w) // makes tables that all share
		e.Write(body)
		const n = 8
		var held []*coding.Encoder
		before := heap()
		for range n {
			e, _ := s.Take([]coding.Coding{w.coding}, nil, w.lasting)
			e.Begin(func([]byte) error { return nil })
			e.Write(body)
			e.Flush()
			e.Write(body[:100_000])
			held = append(held, e)
		}
		took := (heap() - before) / n
		counted := s.Status().Memory / (n + 1)
		t.Logf("%s takes %d KiB, counted as %d", w.name, took>>10, counted>>10)
		if took > counted+8<<10 || took < counted*3/4 {
			t.Errorf("%s takes %d bytes, and is counted as %d", w.name, took, counted)
		}
		for _, e := range held {
			e.End()
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkEncoders codes 64 KiB of JSON, as it comes from an instance: objects, and numbers.
func BenchmarkEncoders(b *testing.B) {
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) { benchmark(b, w, text(64<<10, false)) })
		b.Run(w.name+"-numbers", func(b *testing.B) { benchmark(b, w, numbers(11_000)) })
	}
}

func benchmark(b *testing.B, w way, body []byte) {
	s := coding.NewEncoders(0)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		e, _ := s.Take([]coding.Coding{w.coding}, nil, w.lasting)
		n = 0
		e.Begin(func(p []byte) error { n += len(p); return nil })
		for rest := body; len(rest) > 0; {
			took := min(len(rest), 16<<10)
			e.Write(rest[:took])
			rest = rest[took:]
		}
		e.Finish()
		e.End()
	}
	b.ReportMetric(100*float64(n)/float64(len(body)), "%left")
}

// FuzzCodings: whatever comes in whatever pieces is decoded to the same.
func FuzzCodings(f *testing.F) {
	f.Add([]byte("some body, some body"), uint64(3))
	f.Add([]byte(strings.Repeat("x", 20_000)), uint64(1<<40+5))
	s := coding.NewEncoders(0)
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		for _, w := range ways {
			e, out := take(t, s, w)
			for rest := body; len(rest) > 0; {
				took := min(len(rest), 1+r.IntN(1+r.IntN(20_000)))
				e.Write(rest[:took])
				if rest = rest[took:]; r.IntN(3) == 0 {
					e.Flush()
				}
			}
			if err := e.Finish(); err != nil {
				t.Fatal(err)
			}
			e.End()
			if got, whole := decode(t, w.coding, out.Bytes()); !whole || !bytes.Equal(got, body) {
				t.Fatalf("%s: %q becomes %q", w.name, body, got)
			}
		}
	})
}

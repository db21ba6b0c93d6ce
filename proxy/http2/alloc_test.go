//go:build !race

package http2_test

import (
	"net"
	"net/http"
	"runtime"
	"testing"

	"golang.org/x/net/http2"

	engine "serai/proxy/http2"
)

// TestAllocNothingPerRequest counts what the whole process allocates for a request:
// client, serai and instance. Each field enters the table anew, which is copied now and
// then.
func TestAllocNothingPerRequest(t *testing.T) {
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b, answer := make([]byte, 4096), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	k.point(l.Addr().String())
	p := k.dial()
	block := append([]byte{}, p.fields("/a?b=c", "user-agent", "test", "accept", "*/*", "cookie", "a=b")...)
	id, in := uint32(1), make([]byte, 4096)
	var frames []byte
	once := func() {
		// The first block has filled the table; the others are the same, as literals.
		frames = append(frames[:0], byte(len(block)>>16), byte(len(block)>>8), byte(len(block)), byte(http2.FrameHeaders), 5,
			byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
		frames = append(frames, block...)
		if _, err := p.c.Write(frames); err != nil {
			t.Fatal(err)
		}
		for n, seen := 0, 0; ; {
			got, err := p.c.Read(in[n:])
			if err != nil {
				t.Fatal(err)
			}
			for n += got; n-seen >= 9; {
				size := int(in[seen])<<16 | int(in[seen+1])<<8 | int(in[seen+2])
				if n-seen < 9+size {
					break
				}
				ends := in[seen+3] <= 1 && in[seen+4]&1 != 0
				if seen += 9 + size; ends {
					id += 2
					return
				}
			}
		}
	}
	for range 500 {
		once()
	}
	const n = 2000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		once()
	}
	runtime.ReadMemStats(&after)
	each := float64(after.Mallocs-before.Mallocs) / n
	t.Logf("%.3f allocations for each request", each)
	if each > 0.1 {
		t.Errorf("%.2f allocations for each request", each)
	}
}

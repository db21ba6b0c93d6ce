package http2_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	engine "serai/proxy/http2"
)

// seen is what an instance that a test plays gets of the bodies of requests.
type seen struct {
	f      *http2.Framer
	stream uint32
	bytes  string
	end    bool
}

// refuse says that the request was not begun.
var refuse = map[string]func(s *seen){
	"REFUSED_STREAM": func(s *seen) { s.f.WriteRSTStream(s.stream, http2.ErrCodeRefusedStream) },
	"GOAWAY":         func(s *seen) { s.f.WriteGoAway(0, http2.ErrCodeNo, nil) },
}

// played is an instance, whose requests tell what they have got whenever more comes.
func played(t *testing.T) (address string, got <-chan *seen) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan *seen, 1000)
	var open sync.Map
	var running sync.WaitGroup
	one := func(c net.Conn) {
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return // a probe
		}
		f := http2.NewFramer(c, c)
		f.WriteSettings()
		now := make(map[uint32]*seen)
		for {
			in, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch in := in.(type) {
			case *http2.HeadersFrame:
				s := now[in.StreamID]
				if s == nil {
					s = &seen{f: f, stream: in.StreamID}
				}
				s = &seen{f, s.stream, s.bytes, in.StreamEnded()}
				now[in.StreamID] = s
				all <- s
			case *http2.DataFrame:
				s := now[in.StreamID]
				s = &seen{f, s.stream, s.bytes + string(in.Data()), in.StreamEnded()}
				now[in.StreamID] = s
				all <- s
			}
		}
	}
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			running.Go(func() { one(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		running.Wait()
	})
	return l.Addr().String(), all
}

// upload begins a POST.
func (p *peer) upload(media string) {
	p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: p.Block(
		":method", "POST", ":scheme", "http", ":authority", "a.test", ":path", "/", "content-type", media, "te", "trailers")})
}

// until2 waits until an instance has got these bytes of a body.
func until2(t *testing.T, got <-chan *seen, bytes string, end bool) *seen {
	t.Helper()
	late := time.After(long)
	for {
		select {
		case s := <-got:
			if s.bytes == bytes && s.end == end {
				return s
			}
		case <-late:
			t.Fatalf("no instance has got %d bytes, end %v", len(bytes), end)
		}
	}
}

// TestSentAgain: of a request that an instance does not begin, also what came later than its head
// is sent again, as long as it is still here, however often; and the client's windows are opened
// once for it.
func TestSentAgain(t *testing.T) {
	for name, say := range refuse {
		for kind, media := range map[string]string{"gRPC": "application/grpc", "another": "text/plain"} {
			t.Run(name+" of "+kind, func(t *testing.T) {
				k := newStack(t, engine.Options{StreamWindow: 8192}, nil)
				address, got := played(t)
				k.point(address, "ingress.scheme=grpc", "ingress.retries=9")
				p := k.dial()
				p.upload(media)
				say(until2(t, got, "", false))
				piece := strings.Repeat("x", 1500)
				const pieces = 5 // in one buffer
				for i := range pieces {
					until2(t, got, strings.Repeat(piece, i), false) // it has all that came before
					p.f.WriteData(1, false, []byte(piece))
					say(until2(t, got, strings.Repeat(piece, i+1), false))
				}
				whole := strings.Repeat(piece, pieces)
				until2(t, got, whole, false)
				p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block("x-sum", "1"), EndHeaders: true, EndStream: true})
				s := until2(t, got, whole, true)
				var b bytes.Buffer
				hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
				s.f.WriteHeaders(http2.HeadersFrameParam{StreamID: s.stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
				opened := make(map[uint32]int)
				for {
					f, err := p.f.ReadFrame()
					if err != nil {
						t.Fatal(err)
					}
					if w, ok := f.(*http2.WindowUpdateFrame); ok {
						opened[w.StreamID] += int(w.Increment)
					}
					if h, ok := f.(*http2.MetaHeadersFrame); ok {
						if status := h.PseudoValue("status"); status != "200" {
							t.Errorf("answered %s: %v", status, h.RegularFields())
						}
						break
					}
				}
				const first = 1<<20 - 65535 // the connection's at its beginning
				if opened[1] > len(whole) || opened[0] > first+len(whole) {
					t.Errorf("%d bytes were sent, and windows opened by %v", len(whole), opened)
				}
			})
		}
	}
}

// TestNotSentAgain: what is here no more cannot be sent again, nor what an instance may have
// processed.
func TestNotSentAgain(t *testing.T) {
	large := strings.Repeat("x", 10_000)
	for name, c := range map[string]struct {
		body string
		say  func(*seen)
		want string
	}{
		"too long for GOAWAY":         {large, refuse["GOAWAY"], "503"},
		"too long for REFUSED_STREAM": {large, refuse["REFUSED_STREAM"], "503"},
		"it may be processed":         {"some", func(s *seen) { s.f.WriteRSTStream(s.stream, http2.ErrCodeCancel) }, "502"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newStack(t, engine.Options{}, nil)
			address, got := played(t)
			k.point(address, "ingress.scheme=h2c", "ingress.retries=9")
			p := k.dial()
			p.upload("text/plain")
			until2(t, got, "", false)
			p.f.WriteData(1, false, []byte(c.body))
			c.say(until2(t, got, c.body, false))
			if status, body, _, _ := p.answer(1); status != c.want {
				t.Errorf("answered %s %q, want %s", status, body, c.want)
			}
			if len(got) > 0 {
				t.Errorf("it was sent again: %+v", <-got)
			}
		})
	}
}

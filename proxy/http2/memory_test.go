package http2_test

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"serai/internal/memory"
	engine "serai/proxy/http2"
)

// sender sends bodies on many streams as fast as windows allow.
type sender struct {
	p       *peer
	mu      sync.Mutex
	changed sync.Cond
	window  int // of the connection
	over    map[uint32]bool
	ended   bool
}

// newSender reads what comes until the connection ends.
func newSender(p *peer) *sender {
	s := &sender{p: p, window: 65535, over: make(map[uint32]bool)}
	s.changed.L = &s.mu
	go func() {
		for {
			f, err := p.f.ReadFrame()
			s.mu.Lock()
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					s.window += int(f.Increment)
				}
			case *http2.RSTStreamFrame:
				s.over[f.StreamID] = true
			}
			s.ended = err != nil
			s.changed.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// may waits until n bytes may be sent on a stream, and reports whether it still goes on.
func (s *sender) may(id uint32, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.window < n && !s.ended && !s.over[id] {
		s.changed.Wait()
	}
	if s.ended || s.over[id] {
		return false
	}
	s.window -= n
	return true
}

// TestMemoryOfConnections has one connection take as much memory as it can, of a small
// pot: it never takes more than there is, another client is answered all the time, and
// at the end all is given back.
func TestMemoryOfConnections(t *testing.T) {
	const streams, size = 128, 64 << 10
	uploads := func(fields ...string) func(*peer) {
		return func(p *peer) {
			s := newSender(p)
			for i := range streams {
				p.post(uint32(2*i+1), "/stuck", fields...)
			}
			go func() {
				piece := make([]byte, 4<<10)
				for range size / len(piece) {
					for i := range streams {
						if id := uint32(2*i + 1); s.may(id, len(piece)) {
							p.f.WriteData(id, false, piece)
						}
					}
				}
			}()
		}
	}
	for name, attack := range map[string]func(*peer){
		"bodies of a known length":   uploads("content-length", fmt.Sprint(size)),
		"large bodies":               uploads("content-length", fmt.Sprint(1<<30)),
		"bodies without a length":    uploads(),
		"bodies that do not come":    func(p *peer) { manyPosts(p, streams, "content-length", "100") },
		"streams that do not come":   func(p *peer) { manyPosts(p, streams) },
		"answers that are not taken": func(p *peer) { manyGets(p, streams, "/large") },
		"answers that do not come":   func(p *peer) { manyGets(p, streams, "/stuck") },
	} {
		for _, pot := range []int64{1 << 20, 2 << 20} {
			t.Run(fmt.Sprint(name, " of ", pot>>20, " MiB"), func(t *testing.T) {
				t.Parallel()
				b, over := memory.NewBudget(pot), make(chan struct{})
				k := newStackWithin(t, b, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case "/stuck":
						<-over // the library learns of nothing behind a body
					case "/large":
						w.Write(make([]byte, 10<<20))
					}
				})
				t.Cleanup(func() { close(over) })
				hostile, other := k.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}), k.dialFrom("127.0.0.2")
				hostile.f.WriteWindowUpdate(0, 1<<31-1-65535)
				other.get(1, "/")
				if status, _, _, _ := other.answer(1); status != "200" {
					t.Fatalf("before, it is answered %s", status)
				}
				attack(hostile)
				until(t, "the pot to be used", func() bool { return takenOf(b) > pot/2 || refusedOf(b) > 0 })
				for i := range 100 {
					id := uint32(2*i + 3)
					other.get(id, "/")
					if status, body, _, whole := other.answer(id); status != "200" || !whole {
						t.Fatalf("request %d is answered %s %q, with %d of %d bytes taken", i, status, body, takenOf(b), pot)
					}
				}
				hostile.c.Close()
				other.c.Close()
				until(t, "all memory to be given back", func() bool { return takenOf(b) == 0 })
			})
		}
	}
}

func manyPosts(p *peer, n int, fields ...string) {
	newSender(p)
	for i := range n {
		p.post(uint32(2*i+1), "/stuck", fields...)
	}
}

func manyGets(p *peer, n int, path string) {
	p.c.(*net.TCPConn).SetReadBuffer(4 << 10)
	for i := range n {
		p.get(uint32(2*i+1), path)
	}
}

func takenOf(b *memory.Budget) (sum int64) {
	for _, part := range memory.Parts() {
		n, _ := b.Taken(part)
		sum += n
	}
	return sum
}

func refusedOf(b *memory.Budget) (sum uint64) {
	for _, part := range memory.Parts() {
		_, n := b.Taken(part)
		sum += n
	}
	return sum
}

// fillUp has many clients take memory until so much is taken of all, so that nobody's
// share is large, and returns what gives it back.
func fillUp(t *testing.T, b *memory.Budget, most int64) (empty func()) {
	t.Helper()
	clients := make([]memory.Client, 100)
	each := (most - takenOf(b)) / int64(len(clients))
	for i := range clients {
		clients[i].Join(b)
		if !clients[i].Take(memory.Requests, each) {
			t.Fatalf("there is no memory to take for client %d", i)
		}
	}
	b.Settle()
	return func() {
		for i := range clients {
			clients[i].Give(memory.Requests, each)
			clients[i].Leave()
		}
	}
}

// TestSlowBodiesMakeRoom: a client that keeps a request waiting for its body is not
// waited for while memory runs out, and not for long while it runs low. What is here is
// answered.
func TestSlowBodiesMakeRoom(t *testing.T) {
	const pot = 1 << 20
	for name, c := range map[string]struct {
		fill   int64 // sixteenths of the pot
		before bool  // that is after the request has begun
		fields []string
		path   string
		want   string
	}{
		"of a known length":              {13, true, []string{"content-length", "60000"}, "/", "503"},
		"of a known length, and no room": {13, false, []string{"content-length", "60000"}, "/", "503"},
		"of no known length":             {13, true, nil, "/", "503"},
		"behind the answer's head":       {13, true, []string{"content-length", "100000"}, "/early", "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := memory.NewBudget(pot)
			begun := make(chan struct{}, 1)
			k := newStackWithin(t, b, engine.Options{BodyIdle: long, StreamIdle: long}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/early" {
					http.NewResponseController(w).EnableFullDuplex()
					w.(http.Flusher).Flush()
					begun <- struct{}{}
				}
				for {
					if _, err := r.Body.Read(make([]byte, 1000)); err != nil {
						return
					}
				}
			})
			p := k.dial()
			until(t, "the connection, with its memory", func() bool { return k.engine.Status().Conns == 1 })
			empty := func() {}
			defer func() { empty() }()
			fill := func() { empty = fillUp(t, b, pot/16*c.fill) }
			if !c.before {
				fill()
			}
			p.post(1, c.path, c.fields...)
			p.f.WriteData(1, false, []byte("x"))
			if c.path == "/early" {
				<-begun
			}
			if c.before {
				until(t, "the request", func() bool { return k.proxy.Inflight() == 1 })
				time.Sleep(1200 * time.Millisecond) // nothing ends while there is memory
				if n := k.proxy.Inflight(); n != 1 {
					t.Fatalf("%d requests are under way", n)
				}
				fill()
			}
			status, _, code, whole := p.answer(1)
			if status != c.want || c.want == "200" && (whole || code != http2.ErrCodeInternal) {
				t.Errorf("answered %s, whole %v, %v", status, whole, code)
			}
			p.get(3, "/")
			if status, _, _, _ := p.answer(3); status != "200" {
				t.Errorf("the next request is answered %s", status)
			}
		})
	}
}

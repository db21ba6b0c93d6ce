package http2_test

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	x "golang.org/x/net/http2"

	"serai/upstream"
)

// TestClosedBeforeReuse: an instance that has closed a connection loses no request that
// is begun after that, not even one that must not be sent twice, and however late whoever
// reads the connection learns of it.
func TestClosedBeforeReuse(t *testing.T) {
	// With one processor the reader of the connection runs only when the request waits.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ends := map[string]func(p *peer){
		"closed":          func(p *peer) { p.Conn.Close() },
		"its side closed": func(p *peer) { p.Conn.(*net.TCPConn).CloseWrite() },
		"reset":           func(p *peer) { p.Conn.(*net.TCPConn).SetLinger(0); p.Conn.Close() },
		"GOAWAY, closed":  func(p *peer) { p.WriteGoAway(1, x.ErrCodeNo, nil); p.Conn.Close() },
		"a PING, closed":  func(p *peer) { p.WritePing(false, [8]byte{}); p.Conn.Close() },
	}
	for _, busy := range []bool{false, true} {
		for name, end := range ends {
			if busy {
				name += " with another request under way"
			}
			t.Run(name, func(t *testing.T) {
				var mu sync.Mutex // one at a time writes frames
				var last *peer
				var asked atomic.Int32
				e := playing(t, func(p *peer) {
					p.WriteSettings()
					mu.Lock()
					last = p
					mu.Unlock()
					for s := p.request(); s != 0; s = p.request() {
						asked.Add(1)
						mu.Lock()
						p.answer(s, !busy || s > 1, ":status", "200")
						mu.Unlock()
					}
				})
				const rounds = 50
				for n := range rounds {
					var first upstream.Answer
					if f := e.Transport().RoundTrip(request(&asking{}, "POST", "/"), &first); f != nil {
						t.Fatal(f)
					}
					if !busy {
						first.Stream.End(true)
					}
					mu.Lock()
					end(last)
					mu.Unlock()
					var a upstream.Answer
					if f := e.Transport().RoundTrip(request(&asking{}, "POST", "/"), &a); f != nil {
						t.Fatalf("request %d failed: kind %d, processing %d: %v", n, f.Kind, f.Processing, f.Err)
					}
					a.Stream.End(true)
					if busy {
						first.Stream.End(false)
					}
					e.Transport().CloseIdle(a.Now.Add(long), 9)
				}
				if n := asked.Load(); n != 2*rounds {
					t.Errorf("%d requests arrived, want %d", n, 2*rounds)
				}
			})
		}
	}
}

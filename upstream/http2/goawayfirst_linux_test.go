package http2_test

import (
	"runtime"
	"testing"

	x "golang.org/x/net/http2"

	"serai/upstream"
)

// holding is an asking that does something before its request leaves.
type holding struct {
	*asking
	then func()
}

func (h *holding) Hold(s upstream.Stream) bool { h.then(); return h.asking.Hold(s) }

// TestGoAwayBeforeTheEnd: an instance says GOAWAY and closes when the first request of a connection is about to leave, and
// the reader has had no time to read it. The instance has refused the request, it has not broken the connection.
func TestGoAwayBeforeTheEnd(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for range 20 {
		conns := make(chan *peer, 8)
		e := playing(t, func(p *peer) {
			p.WriteSettings()
			conns <- p
			p.drain()
		})
		r := request(nil, "POST", "/")
		r.Caller = &holding{&asking{}, func() {
			p := <-conns
			p.WriteGoAway(0, x.ErrCodeNo, nil)
			p.Conn.Close()
		}}
		if f := e.Transport().RoundTrip(r, &upstream.Answer{}); f == nil || f.Kind != upstream.FailedRefused || f.Processing != upstream.NotSent {
			t.Fatalf("failed with %+v", f)
		}
	}
}

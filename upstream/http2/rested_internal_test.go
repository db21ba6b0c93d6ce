package http2

import (
	"testing"

	"serai/upstream"
	"serai/wire/http2"
)

// TestBuffersOfManyConnections: of however many connections that had a large request, only so
// many keep its buffers while they rest, and each gives its place back, however that ends.
func TestBuffersOfManyConnections(t *testing.T) {
	all := new(rested)
	transport := &Transport{endpoint: &upstream.Endpoint{}, keeping: upstream.Keeping{Most: -1}, rested: all}
	newRested := func(s connState) *conn {
		c := &conn{transport: transport, taken: 1, state: s, out: make([]byte, 0, 4*http2.FrameSize), spare: make([]byte, 0, 4*http2.FrameSize)}
		c.taken--
		c.beginRest()
		return c
	}
	var conns []*conn
	kept := 0
	for range 10 * mostRested {
		c := newRested(open)
		if conns = append(conns, c); cap(c.out)+cap(c.spare) > 0 {
			kept++
		}
	}
	if kept != mostRested || all.conns.Load() != mostRested {
		t.Fatalf("%d connections keep their buffers, %d are counted, want %d", kept, all.conns.Load(), mostRested)
	}
	for i, c := range conns {
		switch i % 3 {
		case 0:
			c.endRest() // a request comes
		case 1:
			c.endRest() // it ends
			c.endRest()
		default:
			c.rest(c.idleSince.Add(restAfter))
			if cap(c.out)+cap(c.spare) > 0 {
				t.Fatal("buffers stay for longer than restAfter")
			}
		}
	}
	newRested(dead)
	if n := all.conns.Load(); n != 0 {
		t.Errorf("%d places are not given back", n)
	}
}

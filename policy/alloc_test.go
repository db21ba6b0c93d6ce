//go:build !race

package policy

import (
	"testing"

	"serai/wire"
)

// TestAllocNothing: all phases of all policies, once their memory is there.
func TestAllocNothing(t *testing.T) {
	l := ForRoute(&OfRoute{HSTS: "max-age=9", Sticky: "stay", Redirect: &Redirect{HTTPS: true}}, &State{})
	instance := ForInstance(&OfInstance{Strip: "/api"})
	r := &request{https: true, cookie: "stay", value: "v"}
	r.head.Path, r.head.Query, r.head.HasQuery = []byte("/api/x"), []byte("y"), true
	values := &wire.Values{}
	reply := &Reply{Values: values}
	f := &Forward{Request: r, Head: &wire.OutgoingRequest{}, Values: values}
	a := &Answer{Request: r, Head: &wire.ResponseHead{}, Values: values}
	once := func() {
		values.Reset()
		reply.Fields, a.Head.Fields, f.Path = reply.Fields[:0], a.Head.Fields[:0], r.head.Path
		l.Request(r, reply)
		instance.Forward(f)
		l.Forward(f)
		l.Answer(a)
	}
	for range 10 {
		once()
	}
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

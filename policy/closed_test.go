package policy

import (
	"net/netip"
	"testing"

	"serai/wire"
)

// TestClosed: a closed route answers before all else.
func TestClosed(t *testing.T) {
	l := ForRoute(&OfRoute{Closed: true, Redirect: &Redirect{Status: 308, HTTPS: true}}, &State{})
	reply := &Reply{Values: &wire.Values{}}
	if !l.Request(&request{client: netip.MustParseAddr("192.0.2.1"), host: "a.test"}, reply) || reply.Status != 503 || reply.Reason != "guard-refused" {
		t.Errorf("a closed route answers %+v", reply)
	}
}

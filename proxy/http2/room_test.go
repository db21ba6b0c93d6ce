package http2_test

import (
	"fmt"
	"net/http"
	"testing"

	"serai/front"
	engine "serai/proxy/http2"
)

// TestIdleConnectionsMakeRoom: one address holds all connections that it can get, one of
// them with a request under way. Others are served: it loses idle ones.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	const most, others = 32, 4
	over := make(chan struct{})
	k := newStackFor(t, front.NewClients(nil, most), engine.Options{}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/waits" {
			<-over
		}
	})
	busy := k.dial()
	busy.get(1, "/waits")
	for open := 1; k.server.Status().Refused == 0; open++ {
		k.dial()
		until(t, "its count", func() bool { st := k.server.Status(); return st.Conns > open || st.Refused > 0 })
	}
	alone := k.server.Status().Conns
	for i := range others {
		p := k.dialFrom(fmt.Sprintf("127.0.3.%d", i+1))
		p.get(1, "/")
		if status, _, _, whole := p.answer(1); status != "200" || !whole {
			t.Fatalf("%d: answered %s", i, status)
		}
		until(t, "room for the next", func() bool { return k.server.Status().Conns <= alone })
	}
	if st := k.server.Status(); st.Recalled != others {
		t.Errorf("%d connections were ended for %d others", st.Recalled, others)
	}
	close(over)
	if status, _, _, whole := busy.answer(1); status != "200" || !whole {
		t.Errorf("the request under way is answered %s", status)
	}
}

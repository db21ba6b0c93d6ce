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

// TestSlowHeadsMakeRoom: each of many addresses holds one connection, on which a frame or a
// head has begun that does not end. Others are served.
func TestSlowHeadsMakeRoom(t *testing.T) {
	const most, others = 32, 4
	for name, begun := range map[string]string{"frame": "\x00\x00\x10\x01", "head": "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"} {
		t.Run(name, func(t *testing.T) {
			k := newStackFor(t, front.NewClients(nil, most), engine.Options{HeadTimeout: long, KeepAlive: long}, func(http.ResponseWriter, *http.Request) {})
			for open := 0; k.server.Status().Refused == 0; open++ {
				k.dialFrom(fmt.Sprintf("127.0.2.%d", open+1)).c.Write([]byte(begun))
				until(t, "its count", func() bool { st := k.server.Status(); return st.Conns > open || st.Refused > 0 })
			}
			for i := range others {
				until(t, "room", func() bool { return k.server.Status().Conns < most })
				p := k.dialFrom(fmt.Sprintf("127.0.3.%d", i+1))
				p.get(1, "/")
				if status, _, _, whole := p.answer(1); status != "200" || !whole {
					t.Fatalf("%d: answered %s", i, status)
				}
			}
		})
	}
}

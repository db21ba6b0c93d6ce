package http2_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"serai/front"
	"serai/internal/memory"
	engine "serai/proxy/http2"
)

// TestPanicWhileReading: where serai fails while it reads a connection, that connection
// ends with its streams and gives back all that it held; others go on.
func TestPanicWhileReading(t *testing.T) {
	b, over, came, left := memory.NewBudget(32<<20), make(chan struct{}), make(chan struct{}, 8), make(chan struct{}, 8)
	k := newStackOf(t, front.NewClients(b, 0), engine.Options{}, func(e *engine.Engine) front.Engine { return engine.Fragile{Engine: e} }, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/waits" {
			return
		}
		came <- struct{}{}
		select {
		case <-r.Context().Done():
			left <- struct{}{}
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) })
	bystander := k.dial()
	bystander.get(1, "/")
	if status, _, _, _ := bystander.answer(1); status != "200" {
		t.Fatalf("answered %s", status)
	}
	before := takenOf(b)
	for round := range 3 {
		p := k.dialFrom("127.0.0.2")
		p.get(1, "/")
		p.answer(1)
		p.get(3, "/waits")
		<-came
		p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: p.fields("/", "x", strings.Repeat("\xff", 30_000))[:16_000]})
		p.goAway()
		<-left
		until(t, "its end", func() bool { s := k.engine.Status(); return s.Conns == 1 && s.Streams == 0 && takenOf(b) == before })
		if n := k.proxy.Reasons()["panic"]; n != uint64(round+1) {
			t.Errorf("counted %d times", n)
		}
	}
	bystander.get(3, "/")
	if status, _, _, _ := bystander.answer(3); status != "200" {
		t.Errorf("the other is answered %s", status)
	}
}

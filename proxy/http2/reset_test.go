package http2_test

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	engine "serai/proxy/http2"
)

// TestResetsOfOldStreams: a client whose calls reach their deadlines, since no instance
// answers them, resets many streams at once. It keeps its connection: there are never
// more such streams than it may have at once. Resets of streams that have just begun end it,
// which TestHostilePeers shows.
func TestResetsOfOldStreams(t *testing.T) {
	const streams = 100
	k := newStack(t, engine.Options{Resets: 1}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-r.Context().Done()
		}
	})
	p := k.dial()
	for i := range uint32(streams) {
		p.get(2*i+1, "/wait")
	}
	until(t, "all streams", func() bool { return k.engine.Status().Streams == streams })
	time.Sleep(time.Second + 50*time.Millisecond)
	for i := range uint32(streams) {
		p.f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	}
	until(t, "the end of all streams", func() bool { return k.engine.Status().Streams == 0 })
	p.get(2*streams+1, "/")
	if status, _, _, whole := p.answer(2*streams + 1); status != "200" || !whole {
		t.Errorf("the next request is answered %s", status)
	}
}

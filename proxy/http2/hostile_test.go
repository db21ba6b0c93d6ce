package http2_test

import (
	"testing"

	"serai/internal/testhttp2"
	engine "serai/proxy/http2"
)

// TestHostilePeers: who attacks a connection loses that connection, is told why, and is
// counted. Others go on.
func TestHostilePeers(t *testing.T) {
	for _, a := range testhttp2.Attacks() {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			k := newStack(t, engine.Options{}, testhttp2.Serve)
			p := k.dial()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				a.Run(p.Peer)
			}()
			if a.Reads {
				<-ended
			}
			code, detail := p.goAway()
			<-ended
			if code != 0 && code != a.Code {
				t.Errorf("it ends with %v %s, want %v", code, detail, a.Code)
			}
			until(t, "the counter "+a.Cause, func() bool { return k.engine.Status().Ended[a.Cause] == 1 })
			until(t, "the end of all streams", func() bool { return k.engine.Status().Streams == 0 && k.proxy.Inflight() == 0 })
			k.answers()
		})
	}
}

package http2_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"serai/internal/testhttp2"
	engine "serai/proxy/http2"
)

// TestDrainBeforeThePreface: a client that has connected and begins only when serai
// drains gets SETTINGS first (RFC 9113 section 3.4), the answer to what it asks at once, and the
// end of the connection.
func TestDrainBeforeThePreface(t *testing.T) {
	for !drainedBeforeThePreface(t) {
		// The client has a second, which may have passed.
	}
}

// drainedBeforeThePreface reports whether the client came in time.
func drainedBeforeThePreface(t *testing.T) bool {
	k := newStack(t, engine.Options{}, func(http.ResponseWriter, *http.Request) {})
	defer k.stop()
	late, err := net.Dial("tcp", k.address)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	late.SetDeadline(time.Now().Add(long))
	early := k.dial()
	early.get(1, "/")
	early.answer(1)
	until(t, "both connections", func() bool { return k.server.Status().Conns == 2 })
	drained := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), long)
		defer cancel()
		drained <- k.server.Shutdown(ctx)
	}()
	for {
		f, err := early.f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header().Type == http2.FrameGoAway {
			break
		}
	}
	k.server.Status() // waits for the end of the round in which all are told
	early.c.Close()
	p := testhttp2.NewPeer(late, "a.test")
	p.Get(1, "/")
	first, err := p.ReadFrame()
	if err != nil {
		<-drained
		return false
	}
	if first.Header().Type != http2.FrameSettings {
		t.Errorf("it begins with %v", first)
	}
	status := ""
	for {
		f, err := p.ReadFrame()
		if err != nil {
			break
		}
		switch f := f.(type) {
		case *http2.PingFrame:
			p.WritePing(true, f.Data)
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
		}
	}
	if status != "200" {
		t.Errorf("the request is answered %q", status)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	return true
}

// TestDrainCutsWhatGoesOn: a stream that a drain cuts off is not told as one whose client has
// left.
func TestDrainCutsWhatGoesOn(t *testing.T) {
	begun := make(chan struct{}, 2)
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			w.(http.Flusher).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
	})
	p := k.dial()
	p.get(1, "/")
	p.get(3, "/begun")
	<-begun
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.server.Shutdown(ctx); err == nil {
		t.Error("nothing was cut")
	}
	if got := k.proxy.Reasons(); got["drain-timeout"] != 2 || got["client-gone"] != 0 {
		t.Errorf("the reasons are %v, want two drain-timeout", got)
	}
}

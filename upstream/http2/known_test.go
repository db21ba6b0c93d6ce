package http2_test

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	x "golang.org/x/net/http2"

	"serai/upstream"
)

// TestWhatIsKnown: each end of an attempt says what is known of processing.
func TestWhatIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		play  func(p *peer, stream uint32)
		kind  upstream.FailureKind
		known upstream.Processing
		says  string
	}{
		"closed":               {func(*peer, uint32) {}, upstream.FailedClosed, upstream.Unknown, ""},
		"refused":              {func(p *peer, s uint32) { p.WriteRSTStream(s, x.ErrCodeRefusedStream); p.drain() }, upstream.FailedRefused, upstream.Refused, "REFUSED_STREAM"},
		"reset":                {func(p *peer, s uint32) { p.WriteRSTStream(s, x.ErrCodeCancel); p.drain() }, upstream.FailedClosed, upstream.Unknown, "CANCEL"},
		"reset without a code": {func(p *peer, s uint32) { p.WriteRSTStream(s, x.ErrCodeNo); p.drain() }, upstream.FailedClosed, upstream.Unknown, "NO_ERROR"},
		"gone away below":      {func(p *peer, s uint32) { p.WriteGoAway(0, x.ErrCodeNo, nil); p.drain() }, upstream.FailedRefused, upstream.NotSent, "GOAWAY"},
		"gone away with why":   {func(p *peer, s uint32) { p.WriteGoAway(0, x.ErrCodeHTTP11Required, nil); p.drain() }, upstream.FailedRefused, upstream.NotSent, "(GOAWAY): HTTP_1_1_REQUIRED"},
		"gone away with it":    {func(p *peer, s uint32) { p.WriteGoAway(s, x.ErrCodeNo, nil) }, upstream.FailedClosed, upstream.Unknown, ""},
		"reset after a 1xx": {func(p *peer, s uint32) {
			p.answer(s, false, ":status", "103")
			p.WriteRSTStream(s, x.ErrCodeCancel)
			p.drain()
		}, upstream.FailedClosed, upstream.Answered, "CANCEL"},
		"no settings": {nil, upstream.FailedProtocol, upstream.Refused, "does not begin with SETTINGS"},
		"HTTP/1":      {nil, upstream.FailedProtocol, upstream.Refused, "answers in HTTP/1"},
		"silence":     {nil, upstream.FailedProtocol, upstream.NotSent, "closed the connection before its SETTINGS"},
	} {
		t.Run(name, func(t *testing.T) {
			e := playing(t, func(p *peer) {
				switch name {
				case "no settings":
					p.WritePing(false, [8]byte{})
					p.drain()
				case "HTTP/1":
					io.WriteString(p.Conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
					p.drain()
				case "silence":
				default:
					p.WriteSettings()
					if s := p.request(); s != 0 {
						c.play(p, s)
					}
				}
			})
			f := fails(t, e)
			if f.Kind != c.kind || f.Processing != c.known || !strings.Contains(f.Err.Error(), c.says) {
				t.Errorf("failed with kind %d, processing %d: %v; want %d, %d, %q", f.Kind, f.Processing, f.Err, c.kind, c.known, c.says)
			}
		})
	}
}

// TestQueuedIsNotUnsent: a request that still waits to be written when its time is over
// may leave later, with those before it. Nobody may say that it was not sent.
func TestQueuedIsNotUnsent(t *testing.T) {
	read, seen := make(chan struct{}), make(chan bool, 1)
	e := playing(t, func(p *peer) {
		p.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 1 << 30})
		p.WriteWindowUpdate(0, 1<<30)
		upload := p.request()
		<-read
		f := p.await(func(f x.Frame) bool { h, ok := f.(*x.HeadersFrame); return ok && h.StreamID != upload })
		seen <- f != nil
		p.drain()
	})
	body := newRest()
	var uploading sync.WaitGroup
	uploading.Go(func() {
		a := &upstream.Answer{}
		if f := e.Transport().RoundTrip(streamed(request(&asking{}, "POST", "/upload"), body), a); f == nil {
			a.Stream.End(false)
		}
	})
	// Until the socket takes no more: nothing of the body has left for a while.
	piece := strings.Repeat("x", 64<<10)
	for full := false; !full; {
		select {
		case body.pieces <- piece:
		case <-time.After(time.Second):
			full = true
		}
	}
	r := request(&asking{}, "POST", "/once")
	r.Answer = 100 * time.Millisecond
	f := e.Transport().RoundTrip(r, &upstream.Answer{})
	if f == nil || f.Kind != upstream.FailedTimeout {
		t.Fatalf("it failed with %+v", f)
	}
	close(read)
	if left := <-seen; left && f.Processing == upstream.NotSent {
		t.Error("it has left although it is said not to have been sent")
	} else if !left {
		t.Error("it has not left: the test shows nothing")
	}
	body.Interrupt()
	uploading.Wait()
}

package http2_test

import (
	"io"
	"strings"
	"testing"

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
		"gone away below":      {func(p *peer, s uint32) { p.WriteGoAway(0, x.ErrCodeNo, nil); p.drain() }, upstream.FailedRefused, upstream.Refused, "GOAWAY"},
		"gone away with it":    {func(p *peer, s uint32) { p.WriteGoAway(s, x.ErrCodeNo, nil) }, upstream.FailedClosed, upstream.Unknown, ""},
		"reset after a 1xx": {func(p *peer, s uint32) {
			p.answer(s, false, ":status", "103")
			p.WriteRSTStream(s, x.ErrCodeCancel)
			p.drain()
		}, upstream.FailedClosed, upstream.Answered, "CANCEL"},
		"no settings": {nil, upstream.FailedProtocol, upstream.Refused, "does not begin with SETTINGS"},
		"HTTP/1":      {nil, upstream.FailedProtocol, upstream.Refused, "answers in HTTP/1"},
		"silence":     {nil, upstream.FailedProtocol, upstream.Refused, "closed the connection before its SETTINGS"},
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

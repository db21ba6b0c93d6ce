package http2_test

import (
	"strings"
	"testing"
	"time"

	x "golang.org/x/net/http2"

	"serai/upstream"
)

// TestNoStreamsAtFirst: an instance may allow no streams for a while (RFC 9113 section 6.5.2), also
// when a connection begins. Requests wait for it then, and none is sent before.
func TestNoStreamsAtFirst(t *testing.T) {
	none := x.Setting{ID: x.SettingMaxConcurrentStreams, Val: 0}
	t.Run("raised", func(t *testing.T) {
		e := playing(t, func(p *peer) {
			p.WriteSettings(none)
			for pings := 0; pings < 200; {
				p.WritePing(false, [8]byte{byte(pings)})
				f, err := p.ReadFrame()
				if err != nil {
					return
				}
				switch f := f.(type) {
				case *x.PingFrame:
					pings++
				case *x.HeadersFrame:
					t.Errorf("stream %d is opened", f.StreamID)
				}
			}
			p.WriteSettings(x.Setting{ID: x.SettingMaxConcurrentStreams, Val: 1})
			if s := p.request(); s != 0 {
				p.answer(s, true, ":status", "200")
			}
			p.drain()
		})
		if got := outcomeOf(e); got != "200" {
			t.Errorf("it is answered %q", got)
		}
	})
	t.Run("never", func(t *testing.T) {
		e := playing(t, func(p *peer) {
			p.WriteSettings(none)
			if s := p.request(); s != 0 {
				t.Errorf("stream %d is opened", s)
			}
		})
		r := request(&asking{}, "POST", "/")
		r.Connect = 100 * time.Millisecond
		f := e.Transport().RoundTrip(r, &upstream.Answer{})
		if f == nil || f.Processing != upstream.NotSent || !strings.HasPrefix(f.Err.Error(), "the instance allows no requests") {
			t.Errorf("it fails with %+v", f)
		}
	})
}

// TestNoStreamsForAWebSocket: an instance that allows no streams and goes away has said nothing
// of WebSockets: it is told as one that refuses requests.
func TestNoStreamsForAWebSocket(t *testing.T) {
	for _, upgrade := range []string{"", "websocket"} {
		e := playing(t, func(p *peer) {
			p.WriteSettings(x.Setting{ID: x.SettingMaxConcurrentStreams, Val: 0})
			p.WriteGoAway(0, x.ErrCodeNo, nil)
			p.drain()
		})
		r := request(&asking{}, "GET", "/")
		r.Head.Upgrade = []byte(upgrade)
		f := e.Transport().RoundTrip(r, &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedRefused || f.Processing != upstream.NotSent && f.Processing != upstream.Refused {
			t.Errorf("with Upgrade: %q it fails with %+v", upgrade, f)
		}
	}
}

package http2_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	engine "serai/proxy/http2"
)

// TestHostilePeers: who floods a connection loses that connection, is told why, and is
// counted. Others go on.
func TestHostilePeers(t *testing.T) {
	const far = 100000 // more than any limit allows
	flood := func(f func(p *peer, i int) error) func(*peer) {
		return func(p *peer) {
			for i := range far {
				if f(p, i) != nil {
					return
				}
			}
		}
	}
	stream := func(i int) uint32 { return uint32(2*i + 1) }
	for _, c := range []struct {
		name, cause string
		attack      func(p *peer)
	}{
		{"rapid reset", "resets", flood(func(p *peer, i int) error {
			if err := p.get(stream(i), "/"); err != nil {
				return err
			}
			return p.f.WriteRSTStream(stream(i), http2.ErrCodeCancel)
		})},
		{"made you reset, by windows", "resets", flood(func(p *peer, i int) error {
			if err := p.get(stream(i), "/wait"); err != nil {
				return err
			}
			return p.f.WriteRawFrame(http2.FrameWindowUpdate, 0, stream(i), make([]byte, 4))
		})},
		{"made you reset, by DATA behind the end", "resets", flood(func(p *peer, i int) error {
			if err := p.get(stream(i), "/wait"); err != nil {
				return err
			}
			return p.f.WriteData(stream(i), true, []byte("x"))
		})},
		{"malformed requests", "resets", flood(func(p *peer, i int) error {
			return p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: []byte{0x82}, EndHeaders: true, EndStream: true})
		})},
		{"empty HEADERS", "resets", flood(func(p *peer, i int) error {
			return p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), EndHeaders: true, EndStream: true})
		})},
		{"CONTINUATION", "head", func(p *peer) {
			p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields("/")})
			part := []byte{0, 1, 'a', 100}
			part = append(part, strings.Repeat("x", 100)...)
			many := []byte(strings.Repeat(string(part), 150))
			for range far {
				if p.f.WriteContinuation(1, false, many) != nil {
					return
				}
			}
		}},
		{"empty CONTINUATION", "control-frames", func(p *peer) {
			p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields("/")})
			flood(func(p *peer, _ int) error { return p.f.WriteContinuation(1, false, nil) })(p)
		}},
		{"a field without end", "head", func(p *peer) {
			// A name of 65536 bytes, and more of it than a head may have.
			p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(p.fields("/"), 0, 0x7f, 0x81, 0xff, 0x03)})
			many := make([]byte, 16000)
			flood(func(p *peer, _ int) error { return p.f.WriteContinuation(1, false, many) })(p)
		}},
		{"HPACK bomb", "head", func(p *peer) {
			// One entry of 4000 bytes, and then a byte for each repetition.
			bomb := append(p.fields("/", "a", strings.Repeat("x", 4000)), []byte(strings.Repeat("\xbe", 12000))...)
			p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: bomb})
			repeated := []byte(strings.Repeat("\xbe", 16000))
			flood(func(p *peer, _ int) error { return p.f.WriteContinuation(1, false, repeated) })(p)
		}},
		{"table resizing", "protocol", func(p *peer) {
			p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(strings.Repeat("\x20\x3f\xe1\x1f", 3000)), EndHeaders: true, EndStream: true})
		}},
		{"SETTINGS", "control-frames", flood(func(p *peer, _ int) error { return p.f.WriteSettings() })},
		{"large SETTINGS", "control-frames", flood(func(p *peer, i int) error {
			return p.f.WriteSettings(make([]http2.Setting, 2000)...)
		})},
		{"PING", "control-frames", flood(func(p *peer, _ int) error { return p.f.WritePing(false, [8]byte{}) })},
		{"PRIORITY", "control-frames", flood(func(p *peer, i int) error {
			return p.f.WritePriority(stream(i), http2.PriorityParam{Weight: 1})
		})},
		{"unknown frames", "control-frames", flood(func(p *peer, _ int) error { return p.f.WriteRawFrame(0x77, 0, 0, nil) })},
		{"empty DATA", "control-frames", func(p *peer) {
			p.post(1, "/wait")
			flood(func(p *peer, _ int) error { return p.f.WriteData(1, false, nil) })(p)
		}},
		{"padding", "control-frames", func(p *peer) {
			p.post(1, "/wait")
			payload := make([]byte, 256)
			payload[0] = 255
			flood(func(p *peer, _ int) error {
				return p.f.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, payload)
			})(p)
		}},
		{"RST_STREAM again and again", "resets", func(p *peer) {
			p.get(1, "/")
			flood(func(p *peer, _ int) error { return p.f.WriteRSTStream(1, http2.ErrCodeCancel) })(p)
		}},
		{"WINDOW_UPDATE of closed streams", "control-frames", func(p *peer) {
			p.get(1, "/")
			p.answer(1)
			flood(func(p *peer, _ int) error { return p.f.WriteWindowUpdate(1, 1) })(p)
		}},
		{"one byte at a time", "control-frames", func(p *peer) {
			p.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			p.get(1, "/large")
			flood(func(p *peer, _ int) error { return p.f.WriteWindowUpdate(1, 1) })(p)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/wait":
					if _, err := io.Copy(io.Discard, r.Body); err == nil {
						<-r.Context().Done()
					}
				case "/large":
					w.Write(make([]byte, 1<<20))
				}
			})
			p := k.dial()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				c.attack(p)
			}()
			code, detail := http2.ErrCode(0), ""
			if c.name != "WINDOW_UPDATE of closed streams" {
				code, detail = p.goAway()
			}
			<-ended
			want := http2.ErrCodeEnhanceYourCalm
			if c.cause == "protocol" {
				want = http2.ErrCodeCompression
			}
			if code != 0 && code != want {
				t.Errorf("it ends with %v %s, want %v", code, detail, want)
			}
			until(t, "the counter "+c.cause, func() bool { return k.engine.Status().Ended[c.cause] == 1 })
			until(t, "the end of all streams", func() bool { return k.engine.Status().Streams == 0 && k.proxy.Inflight() == 0 })
			k.answers()
		})
	}
}

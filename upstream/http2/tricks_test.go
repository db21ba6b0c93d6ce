package http2_test

import (
	"strings"
	"testing"
	"time"

	x "golang.org/x/net/http2"

	"serai/upstream"
)

// TestTrailers: trailers are held to the limits of heads, and come once. None of what
// comes behind the end is kept.
func TestTrailers(t *testing.T) {
	many := strings.Split(strings.Repeat("x,y,", 200)+"x,y", ",")
	for name, play := range map[string]func(p *peer, s uint32){
		"many fields": func(p *peer, s uint32) { p.answer(s, true, many...) },
		"large": func(p *peer, s uint32) {
			p.answer(s, true, "x", strings.Repeat("y", 9000), "z", strings.Repeat("w", 9000))
		},
		"a status":        func(p *peer, s uint32) { p.answer(s, true, ":status", "200") },
		"of a connection": func(p *peer, s uint32) { p.answer(s, true, "connection", "close") },
		"a bomb": func(p *peer, s uint32) {
			p.answer(s, true, append([]string{"x", strings.Repeat("y", 3900)}, strings.Split(strings.Repeat("x,"+strings.Repeat("y", 3900)+",", 50)+"x,y", ",")...)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := playing(t, func(p *peer) {
				p.WriteSettings()
				s := p.request()
				p.answer(s, false, ":status", "200")
				p.WriteData(s, false, []byte("body"))
				play(p, s)
				p.drain()
			})
			r := request(&asking{}, "GET", "/")
			bounds := *r.Bounds
			bounds.Head.Head = 16 << 10
			r.Bounds = &bounds
			got := roundTrip(t, e, r)
			if got.err == nil || len(got.trailers) > 0 {
				t.Errorf("read %q, trailers %q, %v", got.body, got.trailers, got.err)
			}
		})
	}
	t.Run("again and again", func(t *testing.T) {
		ended := make(chan struct{})
		e := playing(t, func(p *peer) {
			defer close(ended)
			p.WriteSettings()
			s := p.request()
			p.answer(s, false, ":status", "200")
			p.answer(s, true, "x", "first")
			go p.drain()
			for range 20_000 {
				if p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.fields("x", strings.Repeat("\xff", 10)), EndStream: true, EndHeaders: true}) != nil {
					return
				}
			}
		})
		body := newRest()
		r := streamed(request(&asking{}, "POST", "/"), body)
		var a upstream.Answer
		if f := e.Transport().RoundTrip(r, &a); f != nil {
			t.Fatal(f)
		}
		<-ended // it is refused, or ends
		close(body.pieces)
		got := readAll(&a)
		if len(got.trailers) != 1 || string(got.trailers[0].Value) != "first" || got.err != nil {
			t.Errorf("%d trailers, %v", len(got.trailers), got.err)
		}
	})
}

// TestWindowTricks: an instance gets no byte more than its windows allow, whatever it does
// to them, and one that keeps them closed is not waited for.
func TestWindowTricks(t *testing.T) {
	t.Run("settings", func(t *testing.T) {
		sent := strings.Repeat("0123456789abcdef", 16<<10) // four windows
		e := playing(t, func(p *peer) {
			p.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 1000})
			s := p.request()
			p.WriteWindowUpdate(0, 1<<20)
			for window, got := 1000, 0; got < len(sent); {
				d, _ := p.await(func(f x.Frame) bool { return f.Header().Type == x.FrameData }).(*x.DataFrame)
				if d == nil {
					t.Error("the connection ends")
					return
				}
				got += len(d.Data())
				if window -= len(d.Data()); window < 0 {
					t.Errorf("%d bytes more than the window", -window)
				}
				if window == 0 { // it goes to -990, to 10 and to 1000
					p.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 10})
					p.WriteWindowUpdate(s, 1000)
					p.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 1000})
					window = 1000
				}
			}
			p.answer(s, true, ":status", "200")
			p.drain()
		})
		body := newRest(sent)
		close(body.pieces)
		if got := roundTrip(t, e, streamed(request(&asking{}, "POST", "/"), body)); got.head.Status != 200 {
			t.Errorf("answered %d", got.head.Status)
		}
	})
	for name, play := range map[string]func(p *peer, s uint32){
		"a stream's of 2^31":    func(p *peer, s uint32) { p.WriteWindowUpdate(s, 1<<31-1) },
		"a stream's by nothing": func(p *peer, s uint32) { p.WriteRawFrame(x.FrameWindowUpdate, 0, s, make([]byte, 4)) },
		"settings beyond a window": func(p *peer, s uint32) {
			p.WriteWindowUpdate(s, 1<<30)
			p.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 1<<31 - 1})
		},
		"closed": func(*peer, uint32) {},
	} {
		t.Run(name, func(t *testing.T) {
			e := playing(t, func(p *peer) {
				p.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 10})
				s := p.request()
				play(p, s)
				p.drain()
			})
			body := newRest(strings.Repeat("x", 100))
			close(body.pieces)
			r := streamed(request(&asking{}, "POST", "/"), body)
			bounds := *r.Bounds
			bounds.WriteIdle = 100 * time.Millisecond
			r.Bounds, r.Answer = &bounds, 200*time.Millisecond
			if f := e.Transport().RoundTrip(r, &upstream.Answer{}); f == nil || f.Processing == upstream.NotSent {
				t.Errorf("it ends with %+v", f)
			}
		})
	}
	t.Run("one byte at a time", func(t *testing.T) {
		told := make(chan x.ErrCode, 1)
		e := playing(t, func(p *peer) {
			p.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 0})
			s := p.request()
			told <- p.endless(func() error { return p.WriteWindowUpdate(s, 1) })
		})
		body := newRest(strings.Repeat("x", 1<<20))
		close(body.pieces)
		if f := e.Transport().RoundTrip(streamed(request(&asking{}, "POST", "/"), body), &upstream.Answer{}); f == nil {
			t.Error("it was answered")
		}
		if code := <-told; code != x.ErrCodeEnhanceYourCalm && code != x.ErrCodeNo {
			t.Errorf("the instance is told %v", code)
		}
	})
}

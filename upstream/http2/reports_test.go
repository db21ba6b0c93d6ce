package http2_test

import (
	"fmt"
	"strings"
	"testing"

	x "golang.org/x/net/http2"

	"serai/upstream"
)

// TestReportsOfInstances: what instances were reported to send to other proxies. Each case
// has the connection from the first request on; the request is made, and then another one,
// which may have a new connection.
func TestReportsOfInstances(t *testing.T) {
	ok := []string{":status", "200"}
	for _, c := range []struct {
		name string
		play func(p *peer, s uint32)
		// want is how the first request ends: its status and body, "cut" behind these where
		// the body does not end well, or what it fails of. On says that the second one has
		// the same connection.
		want string
		on   bool
	}{
		{"DATA behind 103", func(p *peer, s uint32) { p.answer(s, false, ":status", "103"); p.WriteData(s, false, []byte("x")) }, "bad-order", true},
		{"empty DATA behind 102", func(p *peer, s uint32) { p.answer(s, false, ":status", "102"); p.WriteData(s, true, nil) }, "bad-order", true},
		{"103 that ends", func(p *peer, s uint32) { p.answer(s, true, ":status", "103") }, "bad-order", true},
		{"DATA before a head", func(p *peer, s uint32) { p.WriteData(s, true, []byte("x")) }, "bad-order", true},
		{"1xx behind the head", func(p *peer, s uint32) { p.answer(s, false, ok...); p.answer(s, false, ":status", "103") }, "200 cut", true},
		{"trailers with a status", func(p *peer, s uint32) { p.answer(s, false, ok...); p.answer(s, true, ok...) }, "200 cut", true},
		{"trailers that do not end", func(p *peer, s uint32) { p.answer(s, false, ok...); p.answer(s, false, "x", "y") }, "200 cut", true},
		{"trailers behind the length", func(p *peer, s uint32) {
			p.answer(s, false, ":status", "200", "content-length", "3")
			p.WriteData(s, false, []byte("abc"))
			p.answer(s, true, "x", "y")
		}, "200 abc", true},
		{"trailers before the length", func(p *peer, s uint32) {
			p.answer(s, false, ":status", "200", "content-length", "3")
			p.WriteData(s, false, []byte("ab"))
			p.answer(s, true, "x", "y")
		}, "200 ab cut", true},
		{"DATA behind the end", func(p *peer, s uint32) { p.answer(s, true, ok...); p.WriteData(s, true, []byte("x")) }, "200", true},
		{"HEADERS behind the end", func(p *peer, s uint32) { p.answer(s, true, ok...); p.answer(s, true, "x", "y") }, "200", true},
		{"RST_STREAM behind the end", func(p *peer, s uint32) { p.answer(s, true, ok...); p.WriteRSTStream(s, x.ErrCodeNo) }, "200", true},
		{"RST_STREAM behind a part", func(p *peer, s uint32) {
			p.answer(s, false, ok...)
			p.WriteData(s, false, []byte("part"))
			p.WriteRSTStream(s, x.ErrCodeNo)
		}, "200 part cut", true},
		{"a head alone, reset", func(p *peer, s uint32) { p.answer(s, false, ok...); p.WriteRSTStream(s, x.ErrCodeStreamClosed) }, "200 cut", true},
		{"204 with a body", func(p *peer, s uint32) { p.answer(s, false, ":status", "204"); p.WriteData(s, true, []byte("x")) }, "204", true},
		{"204 that ends later", func(p *peer, s uint32) { p.answer(s, false, ":status", "204"); p.WriteData(s, true, nil) }, "204", true},
		{"304 with a length", func(p *peer, s uint32) { p.answer(s, true, ":status", "304", "content-length", "100") }, "304", true},
		{"205 with a body", func(p *peer, s uint32) { p.answer(s, false, ":status", "205"); p.WriteData(s, true, []byte("x")) }, "205 x", true},
		{"status 000", func(p *peer, s uint32) { p.answer(s, true, ":status", "000") }, "bad-pseudo-field", true},
		{"status 999", func(p *peer, s uint32) { p.answer(s, true, ":status", "999") }, "999", true},
		{"status of four digits", func(p *peer, s uint32) { p.answer(s, true, ":status", "2000") }, "bad-pseudo-field", true},
		{"te", func(p *peer, s uint32) { p.answer(s, true, ":status", "200", "te", "trailers") }, "200", true},
		{"proxy-connection", func(p *peer, s uint32) { p.answer(s, true, ":status", "200", "proxy-connection", "close") }, "connection-field", true},
		{"padding of a whole frame", func(p *peer, s uint32) {
			p.answer(s, false, ok...)
			p.WriteDataPadded(s, true, []byte("x"), make([]byte, 255))
		}, "200 x", true},
		{"an unknown frame", func(p *peer, s uint32) { p.WriteRawFrame(0x77, 0xff, s, []byte("?")); p.answer(s, true, ok...) }, "200", true},
		{"ALTSVC and ORIGIN", func(p *peer, s uint32) {
			p.WriteRawFrame(0xa, 0, 0, []byte("\x00\x00h2=\":1\""))
			p.WriteRawFrame(0xc, 0, 0, []byte("\x00\x08https://"))
			p.answer(s, true, ok...)
		}, "200", true},
		{"PRIORITY", func(p *peer, s uint32) { p.WritePriority(s, x.PriorityParam{Weight: 3}); p.answer(s, true, ok...) }, "200", true},
		{"GOAWAY that refuses nothing", func(p *peer, s uint32) {
			p.WriteGoAway(1<<31-1, x.ErrCodeNo, nil)
			p.answer(s, true, ok...)
		}, "200", false},
		{"GOAWAY twice, of which the second refuses more", func(p *peer, s uint32) {
			p.WriteGoAway(1<<31-1, x.ErrCodeNo, nil)
			p.WriteGoAway(s, x.ErrCodeNo, nil)
			p.answer(s, true, ok...)
		}, "200", false},
		{"GOAWAY too_many_pings with the stream", func(p *peer, s uint32) {
			p.WriteGoAway(s, x.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
			p.answer(s, true, ok...)
		}, "200", false},
		{"no streams any more", func(p *peer, s uint32) {
			p.WriteSettings(x.Setting{ID: x.SettingMaxConcurrentStreams, Val: 0})
			p.answer(s, true, ok...)
		}, "200", false},
		{"a push", func(p *peer, s uint32) {
			p.WritePushPromise(x.PushPromiseParam{StreamID: s, PromiseID: 2, BlockFragment: p.fields(":method", "GET"), EndHeaders: true})
		}, "HTTP/2", false},
		{"a stream of its own", func(p *peer, s uint32) { p.answer(2, true, ok...) }, "HTTP/2", false},
		{"a stream that is not begun", func(p *peer, s uint32) { p.answer(s+100, true, ok...) }, "HTTP/2", false},
		{"DATA of stream 0", func(p *peer, s uint32) { p.WriteRawFrame(x.FrameData, 0, 0, []byte("x")) }, "HTTP/2", false},
		{"SETTINGS of 5 bytes", func(p *peer, s uint32) { p.WriteRawFrame(x.FrameSettings, 0, 0, []byte("12345")) }, "HTTP/2", false},
		{"priorities switched off by 2", func(p *peer, s uint32) {
			p.WriteRawFrame(x.FrameSettings, 0, 0, []byte("\x00\x09\x00\x00\x00\x02"))
			p.answer(s, true, ok...)
		}, "HTTP/2", false},
		{"a window of nothing", func(p *peer, s uint32) { p.WriteRawFrame(x.FrameWindowUpdate, 0, 0, make([]byte, 4)) }, "HTTP/2", false},
		{"a frame of 16385 bytes", func(p *peer, s uint32) { p.WriteRawFrame(x.FrameData, 0, s, make([]byte, 16385)) }, "HTTP/2", false},
		{"a table larger than it may be", func(p *peer, s uint32) {
			p.WriteRawFrame(x.FrameHeaders, 5, s, []byte("\x3f\xe2\x1f\x88"))
		}, "HTTP/2", false},
		{"an index beyond the table", func(p *peer, s uint32) { p.WriteRawFrame(x.FrameHeaders, 5, s, []byte("\x88\xff\x20")) }, "HTTP/2", false},
		{"CONTINUATION of another stream", func(p *peer, s uint32) {
			p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.fields(ok...)})
			p.WriteContinuation(s+2, true, nil)
		}, "HTTP/2", false},
		{"a frame within a head", func(p *peer, s uint32) {
			p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.fields(ok...)})
			p.WritePing(false, [8]byte{})
		}, "HTTP/2", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			second := make(chan int, 2)
			e := playing(t, func(p *peer) {
				p.WriteSettings()
				if s := p.request(); s != 0 && p.nth == 0 {
					c.play(p, s)
				} else if s != 0 {
					second <- p.nth
					p.answer(s, true, ok...)
				}
				if s := p.request(); s != 0 {
					second <- p.nth
					p.answer(s, true, ok...)
				}
				p.drain()
			})
			if got := outcomeOf(e); !strings.Contains(got, c.want) || strings.HasPrefix(c.want, "2") && got != c.want {
				t.Errorf("the first is answered %q, want %q", got, c.want)
			}
			if got := outcomeOf(e); got != "200" {
				t.Errorf("the second is answered %q", got)
			}
			if nth := <-second; (nth == 0) != c.on {
				t.Errorf("the second has connection %d", nth)
			}
		})
	}
}

// outcomeOf makes a request that may not be sent twice.
func outcomeOf(e *upstream.Endpoint) string {
	var a upstream.Answer
	if f := e.Transport().RoundTrip(request(&asking{}, "POST", "/"), &a); f != nil {
		return f.Err.Error()
	}
	got := readAll(&a)
	s := strings.TrimSpace(fmt.Sprint(got.head.Status, " ", got.body))
	if got.err != nil {
		s += " cut"
	}
	return s
}

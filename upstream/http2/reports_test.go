package http2_test

import (
	"fmt"
	"slices"
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
		// the body does not end well, or what it fails of; between | what may be instead. On
		// says that the second one has the same connection.
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
		{"frames of no size", func(p *peer, s uint32) { // CVE-2026-33814
			p.WriteRawFrame(x.FrameSettings, 0, 0, []byte("\x00\x05\x00\x00\x00\x00"))
			p.answer(s, true, ok...)
		}, "HTTP/2", false},
		{"a setting of 2^31", func(p *peer, s uint32) {
			p.WriteRawFrame(x.FrameSettings, 0, 0, []byte("\x00\x04\x80\x00\x00\x00"))
			p.answer(s, true, ok...)
		}, "HTTP/2", false},
		{"pushes that it wants", func(p *peer, s uint32) {
			p.WriteSettings(x.Setting{ID: x.SettingEnablePush, Val: 1})
			p.answer(s, true, ok...)
		}, "HTTP/2", false},
		{"status 101", func(p *peer, s uint32) { p.answer(s, false, ":status", "101") }, "bad-pseudo-field", true},
		{"length of two numbers", func(p *peer, s uint32) { p.answer(s, true, ":status", "200", "content-length", "5, 5") }, "bad-content-length", true},
		{"length twice", func(p *peer, s uint32) {
			p.answer(s, true, ":status", "200", "content-length", "5", "content-length", "5")
		}, "content-length-twice", true},
		{"length and no body", func(p *peer, s uint32) { p.answer(s, true, ":status", "200", "content-length", "5") }, "200 cut", true},
		{"GOAWAY that refuses what it answers", func(p *peer, s uint32) { // CVE-2023-35945
			p.answer(s, false, ok...)
			p.WriteGoAway(0, x.ErrCodeNo, nil)
			p.WriteRSTStream(s, x.ErrCodeRefusedStream)
		}, "200 cut|GOAWAY|REFUSED_STREAM", false},
		{"every frame that nobody knows", func(p *peer, s uint32) { // CVE-2026-27141
			for kind := 0x0a; kind < 0x60; kind++ {
				if kind != int(x.FramePriorityUpdate) {
					p.WriteRawFrame(x.FrameType(kind), 0xff, s*uint32(kind%2), []byte("\x00\x00\x00\x00?"))
				}
			}
			p.answer(s, true, ok...)
		}, "200", true},
		{"PRIORITY_UPDATE", func(p *peer, s uint32) { p.WriteRawFrame(x.FramePriorityUpdate, 0, 0, []byte("\x00\x00\x00\x01u=1")) }, "HTTP/2", false},
		{"answers to what was not sent", func(p *peer, s uint32) {
			p.WriteSettingsAck()
			p.WriteSettingsAck()
			p.WritePing(true, [8]byte{7})
			p.answer(s, true, ok...)
		}, "200", true},
		{"windows and resets behind the end", func(p *peer, s uint32) {
			p.answer(s, true, ok...)
			p.WriteWindowUpdate(s, 5)
			p.WriteRSTStream(s, x.ErrCodeCancel)
			p.WriteRSTStream(s, x.ErrCode(1<<32-1))
		}, "200", true},
		{"frames behind the fault", func(p *peer, s uint32) { // CVE-2026-27135
			p.WriteRawFrame(x.FrameData, 0, 0, []byte("x"))
			p.WriteRawFrame(x.FrameSettings, 0, 0, []byte("12345"))
			p.WriteRawFrame(x.FramePriorityUpdate, 0, 0, nil)
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
			got := outcomeOf(e)
			if !slices.ContainsFunc(strings.Split(c.want, "|"), func(want string) bool {
				return got == want || !strings.HasPrefix(want, "2") && strings.Contains(got, want)
			}) {
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

// TestAnswerBeforeItsRequest: an instance that takes nothing of a body, answers all the same, and
// then answers again (Envoy, 47507).
func TestAnswerBeforeItsRequest(t *testing.T) {
	for name, again := range map[string]func(p *peer, s uint32){
		"nothing more": func(*peer, uint32) {},
		"a head":       func(p *peer, s uint32) { p.answer(s, true, ":status", "500") },
		"trailers":     func(p *peer, s uint32) { p.answer(s, true, "x", "y") },
		"DATA":         func(p *peer, s uint32) { p.WriteData(s, true, []byte("x")) },
		"a window":     func(p *peer, s uint32) { p.WriteWindowUpdate(s, 1<<20) },
		"a reset":      func(p *peer, s uint32) { p.WriteRSTStream(s, x.ErrCodeNo) },
	} {
		t.Run(name, func(t *testing.T) {
			e := playing(t, func(p *peer) {
				p.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 0})
				if s := p.request(); s != 0 && p.nth == 0 {
					p.answer(s, true, ":status", "413")
					again(p, s)
				} else if s != 0 {
					p.answer(s, true, ":status", "200")
				}
				if s := p.request(); s != 0 {
					p.answer(s, true, ":status", "200")
				}
				p.drain()
			})
			b := newRest("some", "more")
			var a upstream.Answer
			if f := e.Transport().RoundTrip(streamed(request(&asking{}, "POST", "/"), b), &a); f != nil {
				t.Fatalf("failed with %+v", f)
			}
			// What comes behind its end is not its own.
			if got := readAll(&a); got.head.Status != 413 || got.body != "" || len(got.trailers) != 0 {
				t.Errorf("answered %d %q %v", got.head.Status, got.body, got.trailers)
			}
			if got := outcomeOf(e); got != "200" {
				t.Errorf("the second is answered %q", got)
			}
		})
	}
}

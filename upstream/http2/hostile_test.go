package http2_test

import (
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	x "golang.org/x/net/http2"

	"serai/upstream"
)

// TestMalformedAnswers: what an instance may not say in a head is refused, and no
// byte of it goes on. The connection goes on: the next request is answered.
func TestMalformedAnswers(t *testing.T) {
	many := []string{":status", "200"}
	for range 200 {
		many = append(many, "x", "y")
	}
	for name, c := range map[string]struct {
		head []string
		code string
	}{
		"no status":           {[]string{"x", "y"}, "bad-pseudo-field"},
		"status twice":        {[]string{":status", "200", ":status", "200"}, "bad-pseudo-field"},
		"status behind":       {[]string{"x", "y", ":status", "200"}, "bad-pseudo-field"},
		"status 20":           {[]string{":status", "20"}, "bad-pseudo-field"},
		"status 099":          {[]string{":status", "099"}, "bad-pseudo-field"},
		"status +20":          {[]string{":status", "+20"}, "bad-pseudo-field"},
		"status 101":          {[]string{":status", "101"}, "bad-pseudo-field"},
		"a request's":         {[]string{":status", "200", ":path", "/"}, "bad-pseudo-field"},
		"unknown pseudo":      {[]string{":status", "200", ":x", "/"}, "bad-pseudo-field"},
		"upper case":          {[]string{":status", "200", "X-Y", "z"}, "bad-field-name"},
		"empty name":          {[]string{":status", "200", "", "z"}, "bad-field-name"},
		"blank in name":       {[]string{":status", "200", "x y", "z"}, "bad-field-name"},
		"CR LF":               {[]string{":status", "200", "x", "y\r\nset-cookie: z"}, "bad-field-value"},
		"NUL":                 {[]string{":status", "200", "x", "y\x00"}, "bad-field-value"},
		"leading blank":       {[]string{":status", "200", "x", " y"}, "bad-field-value"},
		"trailing tab":        {[]string{":status", "200", "x", "y\t"}, "bad-field-value"},
		"connection":          {[]string{":status", "200", "connection", "close"}, "connection-field"},
		"transfer-encoding":   {[]string{":status", "200", "transfer-encoding", "chunked"}, "connection-field"},
		"keep-alive":          {[]string{":status", "200", "keep-alive", "timeout=5"}, "connection-field"},
		"upgrade":             {[]string{":status", "200", "upgrade", "x"}, "connection-field"},
		"bad length":          {[]string{":status", "200", "content-length", "1x"}, "bad-content-length"},
		"two lengths":         {[]string{":status", "200", "content-length", "1", "content-length", "1"}, "content-length-twice"},
		"too many fields":     {many, "too-many-fields"},
		"too large":           {[]string{":status", "200", "x", strings.Repeat("y", 40_000), "z", strings.Repeat("y", 40_000)}, "head-too-large"},
		"1xx that ends":       {[]string{":status", "103"}, "bad-order"},
		"length without body": {[]string{":status", "200", "content-length", "5"}, "bad-length"},
	} {
		t.Run(name, func(t *testing.T) {
			e := playing(t, func(p *peer) {
				p.WriteSettings()
				s := p.request()
				block := p.fields(c.head...)
				for first := true; first || len(block) > 0; first = false {
					n := min(len(block), 16_000)
					if first {
						p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: block[:n], EndStream: true, EndHeaders: n == len(block)})
					} else {
						p.WriteContinuation(s, n == len(block), block[:n])
					}
					block = block[n:]
				}
				p.answer(p.request(), true, ":status", "200")
				p.drain()
			})
			// A length that is wrong is seen behind the head, when the stream ends.
			var a upstream.Answer
			f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &a)
			if f == nil {
				got := readAll(&a)
				if got.err == nil || !strings.Contains(got.err.Error(), c.code) {
					t.Fatalf("answered %+v", got)
				}
			} else if f.Kind != upstream.FailedAnswer || f.Processing != upstream.Answered || !strings.Contains(f.Err.Error(), c.code) {
				t.Errorf("failed with %+v, want %s", f, c.code)
			}
			if got := roundTrip(t, e, request(&asking{}, "GET", "/")); got.head.Status != 200 {
				t.Errorf("the next one is answered %d", got.head.Status)
			}
		})
	}
}

// TestMalformedBodies: what an instance may not send behind a head cuts the answer.
func TestMalformedBodies(t *testing.T) {
	for name, c := range map[string]struct {
		head string // of a content-length
		play func(p *peer, s uint32)
	}{
		"longer":         {"3", func(p *peer, s uint32) { p.WriteData(s, true, []byte("body")) }},
		"shorter":        {"5", func(p *peer, s uint32) { p.WriteData(s, true, []byte("body")) }},
		"second head":    {"", func(p *peer, s uint32) { p.answer(s, true, ":status", "200") }},
		"open trailers":  {"", func(p *peer, s uint32) { p.answer(s, false, "x", "y") }},
		"reset":          {"", func(p *peer, s uint32) { p.WriteData(s, false, []byte("body")); p.WriteRSTStream(s, x.ErrCodeInternal) }},
		"reset, no code": {"", func(p *peer, s uint32) { p.WriteData(s, false, []byte("body")); p.WriteRSTStream(s, x.ErrCodeNo) }},
		"gone":           {"", func(p *peer, s uint32) { p.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			e := playing(t, func(p *peer) {
				p.WriteSettings()
				s := p.request()
				if c.head == "" {
					p.answer(s, false, ":status", "200")
				} else {
					p.answer(s, false, ":status", "200", "content-length", c.head)
				}
				c.play(p, s)
				p.drain()
			})
			if got := roundTrip(t, e, request(&asking{}, "GET", "/")); got.err == nil {
				t.Errorf("a clean end: %+v", got)
			}
		})
	}
}

// TestBeyondWindow: what an instance sends beyond the stream's window cuts the answer.
func TestBeyondWindow(t *testing.T) {
	told := make(chan x.ErrCode, 1)
	e := playing(t, func(p *peer) {
		p.WriteSettings()
		s := p.request()
		p.answer(s, false, ":status", "200")
		for range 20 { // the window is 64 KiB at most
			p.WriteData(s, false, make([]byte, 8192))
		}
		f, _ := p.await(func(f x.Frame) bool { return f.Header().Type == x.FrameRSTStream }).(*x.RSTStreamFrame)
		if f == nil {
			told <- x.ErrCodeNo
			return
		}
		told <- f.ErrCode
		p.drain()
	})
	var a upstream.Answer
	if f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &a); f != nil {
		t.Fatal(f)
	}
	if code := <-told; code != x.ErrCodeFlowControl {
		t.Errorf("the instance is told %v", code)
	}
	if got := readAll(&a); got.err == nil || len(got.body) > 64<<10 {
		t.Errorf("read %d bytes, %v", len(got.body), got.err)
	}
}

// endless sends frames until the connection ends, and reports with what code it is told
// that.
func (p *peer) endless(send func() error) x.ErrCode {
	code := make(chan x.ErrCode, 1)
	go func() {
		f, _ := p.await(func(f x.Frame) bool { return f.Header().Type == x.FrameGoAway }).(*x.GoAwayFrame)
		if f == nil {
			code <- x.ErrCodeNo
			return
		}
		code <- f.ErrCode
	}()
	for send() == nil {
		select {
		case c := <-code:
			return c
		default:
		}
	}
	return <-code
}

// TestFloods: an instance that sends what brings nothing loses the connection, and
// costs no memory.
func TestFloods(t *testing.T) {
	one := uint32(1)
	bomb := func(p *peer) []byte { // entries of 4,000 bytes of one byte each
		b := p.fields("x", strings.Repeat("y", 3900))
		return append(append([]byte(nil), b...), []byte(strings.Repeat("\xbe", 12_000))...)
	}
	for name, send := range map[string]func(p *peer) error{
		"SETTINGS": func(p *peer) error { return p.WriteSettings() },
		"many settings": func(p *peer) error {
			var all []x.Setting
			for i := range 2000 {
				all = append(all, x.Setting{ID: x.SettingInitialWindowSize, Val: uint32(i)})
			}
			return p.WriteSettings(all...)
		},
		"PING":         func(p *peer) error { return p.WritePing(false, [8]byte{}) },
		"PING answers": func(p *peer) error { return p.WritePing(true, [8]byte{}) },
		"PRIORITY":     func(p *peer) error { return p.WritePriority(one, x.PriorityParam{Weight: 1}) },
		"windows":      func(p *peer) error { return p.WriteWindowUpdate(one, 1) },
		"empty DATA":   func(p *peer) error { return p.WriteData(one, false, nil) },
		"padding":      func(p *peer) error { return p.WriteDataPadded(one, false, nil, make([]byte, 200)) },
		"RST_STREAM":   func(p *peer) error { return p.WriteRSTStream(one, x.ErrCodeCancel) },
		"unknown":      func(p *peer) error { return p.WriteRawFrame(77, 0, one, []byte("x")) },
		"HEADERS of nobody": func(p *peer) error {
			p.answer(one, true, ":status", "200")
			return p.WriteHeaders(x.HeadersFrameParam{StreamID: one, BlockFragment: p.fields(":status", "200"), EndHeaders: true, EndStream: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan x.ErrCode, 8)
			e := playing(t, func(p *peer) {
				if p.nth > 0 {
					return
				}
				p.WriteSettings()
				one := p.request()
				p.answer(one, false, ":status", "200")
				told <- p.endless(func() error { return send(p) })
			})
			var a upstream.Answer
			if f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &a); f == nil {
				if got := readAll(&a); got.err == nil {
					t.Errorf("a clean end: %v", got)
				}
			}
			if code := <-told; code != x.ErrCodeEnhanceYourCalm && code != x.ErrCodeNo { // a reset may be faster
				t.Errorf("the instance is told %v", code)
			}
		})
	}
	for name, send := range map[string]func(p *peer, s uint32, first bool) error{
		"CONTINUATION": func(p *peer, s uint32, first bool) error {
			if first {
				return p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.fields(":status", "200")})
			}
			return p.WriteContinuation(s, false, []byte(strings.Repeat("\x00\x01x\x01y", 3000)))
		},
		"empty CONTINUATION": func(p *peer, s uint32, first bool) error {
			if first {
				return p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.fields(":status", "200")})
			}
			return p.WriteContinuation(s, false, nil)
		},
		"HPACK bomb": func(p *peer, s uint32, first bool) error {
			if first {
				return p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: bomb(p)})
			}
			return p.WriteContinuation(s, false, []byte(strings.Repeat("\xbe", 16_000)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan x.ErrCode, 1)
			var most uint64
			e := playing(t, func(p *peer) {
				p.WriteSettings()
				s, first := p.request(), true
				told <- p.endless(func() error {
					var m runtime.MemStats
					if first {
						runtime.ReadMemStats(&m)
						most = m.HeapAlloc + 64<<20
					}
					defer func() { first = false }()
					return send(p, s, first)
				})
			})
			if f := fails(t, e); f.Processing == upstream.NotSent {
				t.Errorf("failed with %+v", f)
			}
			if code := <-told; code != x.ErrCodeEnhanceYourCalm && code != x.ErrCodeNo {
				t.Errorf("the instance is told %v", code)
			}
			var m runtime.MemStats
			if runtime.ReadMemStats(&m); m.HeapAlloc > most {
				t.Errorf("%d MiB in use", m.HeapAlloc>>20)
			}
		})
	}
}

// TestBrokenConnections: each fault of the connection ends it with its code.
func TestBrokenConnections(t *testing.T) {
	raw := func(kind x.FrameType, flags x.Flags, stream uint32, payload []byte) func(p *peer, s uint32) {
		return func(p *peer, s uint32) {
			if stream == 99 {
				p.WriteRawFrame(kind, flags, s, payload)
			} else {
				p.WriteRawFrame(kind, flags, stream, payload)
			}
		}
	}
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	setting := func(id uint16, n uint32) []byte { return append(binary.BigEndian.AppendUint16(nil, id), number(n)...) }
	for name, c := range map[string]struct {
		play func(p *peer, s uint32)
		code x.ErrCode
	}{
		"long frame":                     {raw(x.FrameData, 0, 99, make([]byte, 16385)), x.ErrCodeFrameSize},
		"short PING":                     {raw(x.FramePing, 0, 0, make([]byte, 7)), x.ErrCodeFrameSize},
		"PING of a stream":               {raw(x.FramePing, 0, 99, make([]byte, 8)), x.ErrCodeProtocol},
		"SETTINGS of 5 bytes":            {raw(x.FrameSettings, 0, 0, make([]byte, 5)), x.ErrCodeFrameSize},
		"SETTINGS answer":                {raw(x.FrameSettings, x.FlagSettingsAck, 0, make([]byte, 6)), x.ErrCodeFrameSize},
		"push enabled":                   {raw(x.FrameSettings, 0, 0, setting(2, 1)), x.ErrCodeProtocol},
		"window setting":                 {raw(x.FrameSettings, 0, 0, setting(4, 1<<31)), x.ErrCodeFlowControl},
		"frame size setting":             {raw(x.FrameSettings, 0, 0, setting(5, 100)), x.ErrCodeProtocol},
		"connect setting":                {raw(x.FrameSettings, 0, 0, setting(8, 2)), x.ErrCodeProtocol},
		"window too large":               {func(p *peer, s uint32) { p.WriteWindowUpdate(0, 1<<31-1) }, x.ErrCodeFlowControl},
		"window of 0":                    {raw(x.FrameWindowUpdate, 0, 0, number(0)), x.ErrCodeFlowControl},
		"push":                           {raw(x.FramePushPromise, x.FlagPushPromiseEndHeaders, 99, number(2)), x.ErrCodeProtocol},
		"DATA of stream 0":               {raw(x.FrameData, 0, 0, []byte("x")), x.ErrCodeProtocol},
		"DATA of a stream to be":         {raw(x.FrameData, 0, 101, []byte("x")), x.ErrCodeProtocol},
		"HEADERS of a stream of its own": {raw(x.FrameHeaders, x.FlagHeadersEndHeaders, 2, nil), x.ErrCodeProtocol},
		"RST of a stream to be":          {raw(x.FrameRSTStream, 0, 101, number(1)), x.ErrCodeProtocol},
		"CONTINUATION alone":             {raw(x.FrameContinuation, x.FlagContinuationEndHeaders, 99, nil), x.ErrCodeProtocol},
		"interrupted block": {func(p *peer, s uint32) {
			p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.fields(":status", "200")})
			p.WritePing(false, [8]byte{})
		}, x.ErrCodeProtocol},
		"HPACK index":        {raw(x.FrameHeaders, x.FlagHeadersEndHeaders, 99, []byte{0xff, 0xff, 0x01}), x.ErrCodeCompression},
		"HPACK cut":          {raw(x.FrameHeaders, x.FlagHeadersEndHeaders, 99, []byte{0x00, 0x05, 'x'}), x.ErrCodeCompression},
		"padding":            {raw(x.FrameData, x.FlagDataPadded, 99, []byte{9, 'x'}), x.ErrCodeProtocol},
		"padding of nothing": {raw(x.FrameData, x.FlagDataPadded, 99, nil), x.ErrCodeFrameSize},
		"short GOAWAY":       {raw(x.FrameGoAway, 0, 0, number(1)), x.ErrCodeFrameSize},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan x.ErrCode, 1)
			e := playing(t, func(p *peer) {
				p.WriteSettings()
				c.play(p, p.request())
				f, _ := p.await(func(f x.Frame) bool { return f.Header().Type == x.FrameGoAway }).(*x.GoAwayFrame)
				if f == nil {
					told <- x.ErrCodeNo
					return
				}
				told <- f.ErrCode
			})
			f := fails(t, e)
			if f.Kind != upstream.FailedAnswer || f.Processing != upstream.Unknown {
				t.Errorf("failed with %+v", f)
			}
			if code := <-told; code != c.code {
				t.Errorf("the instance is told %v, want %v", code, c.code)
			}
		})
	}
}

// TestPadding: padding is no body, and gives back its window.
func TestPadding(t *testing.T) {
	e := playing(t, func(p *peer) {
		p.WriteSettings()
		s := p.request()
		p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.fields(":status", "200"), EndHeaders: true, PadLength: 7, Priority: x.PriorityParam{Weight: 9}})
		window := 8192
		for range 100 {
			for window < 300 {
				f := p.await(func(f x.Frame) bool { return f.Header().Type == x.FrameWindowUpdate && f.Header().StreamID == s })
				if f == nil {
					return
				}
				window += int(f.(*x.WindowUpdateFrame).Increment)
			}
			p.WriteDataPadded(s, false, []byte("0123456789"), make([]byte, 250))
			window -= 261
		}
		p.WriteData(s, true, nil)
		p.drain()
	})
	if got := roundTrip(t, e, request(&asking{}, "GET", "/")); got.body != strings.Repeat("0123456789", 100) || got.err != nil {
		t.Errorf("read %d bytes, %v", len(got.body), got.err)
	}
}

// TestHPACKTable: the instance may change and use its table between answers, also
// in those that are refused.
func TestHPACKTable(t *testing.T) {
	e := playing(t, func(p *peer) {
		p.WriteSettings(x.Setting{ID: x.SettingHeaderTableSize, Val: 0})
		p.answer(p.request(), true, ":status", "200", "x-first", "1", "Bad", "1", "x-second", "2")
		p.hpack.SetMaxDynamicTableSize(100)
		p.answer(p.request(), true, ":status", "200", "x-second", "2", "x-third", "3")
		p.answer(p.request(), true, ":status", "200", "x-third", "3")
		p.drain()
	})
	if f := fails(t, e); f.Kind != upstream.FailedAnswer {
		t.Errorf("failed with %+v", f)
	}
	for range 2 {
		got := roundTrip(t, e, request(&asking{}, "GET", "/"))
		if last := got.head.Fields[len(got.head.Fields)-2]; string(last.Name) != "x-third" || string(last.Value) != "3" {
			t.Errorf("the head has %q", got.head.Fields)
		}
	}
}

// TestSlowReader: an answer that nobody reads stops at the stream's window, and is
// in nobody's way.
func TestSlowReader(t *testing.T) {
	sent, first := make(chan int, 1), make(chan struct{})
	e := playing(t, func(p *peer) {
		p.WriteSettings()
		slow := p.request()
		close(first)
		fast := p.request()
		window := 8192
		p.answer(slow, false, ":status", "200")
		p.answer(fast, false, ":status", "200")
		p.WriteData(slow, false, make([]byte, window))
		p.WriteData(fast, true, []byte("fine"))
		f := p.await(func(f x.Frame) bool { return f.Header().Type == x.FrameWindowUpdate && f.Header().StreamID == slow })
		n := int(f.(*x.WindowUpdateFrame).Increment)
		for left := n; left > 0; left -= 8192 {
			p.WriteData(slow, false, make([]byte, min(left, 8192)))
		}
		sent <- window + n
		p.drain()
	})
	var slow upstream.Answer
	done := make(chan answer, 1)
	go func() {
		<-first
		done <- roundTrip(t, e, request(&asking{}, "GET", "/"))
	}()
	if f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &slow); f != nil {
		t.Fatal(f)
	}
	if got := <-done; got.body != "fine" {
		t.Errorf("the other is answered %d bytes", len(got.body))
	}
	all := <-sent
	if all > 64<<10 {
		t.Errorf("the instance may send %d bytes that nobody reads", all)
	}
	read := 0
	for read < all {
		data, err := slow.Stream.Next()
		if err != nil {
			t.Fatal(err)
		}
		read += len(data)
	}
	slow.Stream.End(false)
}

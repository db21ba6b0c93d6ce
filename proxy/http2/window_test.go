package http2_test

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"

	engine "serai/proxy/http2"
)

// TestBodiesShareAWindow: bodies that are waited for as a whole use up the window of
// their connection, each before its end. None of them is taken for a slow one, and all
// come to their end.
func TestBodiesShareAWindow(t *testing.T) {
	k := newStack(t, engine.Options{ConnWindow: 65535, BodyIdle: 500 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		io.WriteString(w, strconv.Itoa(len(b)))
	})
	const size, streams = 40_000, 3
	p := k.dial()
	part := bytes.Repeat([]byte("x"), 10_000)
	window := 65535
	left := make(map[uint32]int)
	for i := range streams {
		id := uint32(2*i + 1)
		p.post(id, "/", "content-length", strconv.Itoa(size))
		left[id] = size
	}
	// As much as fits, of each in turn.
	send := func() {
		for window > 0 {
			sent := false
			for i := range streams {
				id := uint32(2*i + 1)
				n := min(left[id], window, len(part))
				if n == 0 {
					continue
				}
				if left[id] -= n; p.f.WriteData(id, left[id] == 0, part[:n]) != nil {
					t.Fatal("the connection ends")
				}
				window -= n
				sent = true
			}
			if !sent {
				return
			}
		}
	}
	send()
	bodies := make(map[uint32]string)
	for len(bodies) < streams {
		f, err := p.f.ReadFrame()
		if err != nil {
			t.Fatalf("after %v: %v", bodies, err)
		}
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				window += int(f.Increment)
				send()
			}
		case *http2.DataFrame:
			bodies[f.StreamID] += string(f.Data())
		case *http2.RSTStreamFrame:
			t.Fatalf("stream %d is reset: %v", f.StreamID, f.ErrCode)
		}
	}
	for id, b := range bodies {
		if b != strconv.Itoa(size) {
			t.Errorf("stream %d is answered %q", id, b)
		}
	}
}

// TestWaitingBodiesKeepNobodyOut: while bodies that wait for an instance hold the window of
// their connection, the client is not to blame that another body does not come.
func TestWaitingBodiesKeepNobodyOut(t *testing.T) {
	hold := make(chan struct{})
	k := newStack(t, engine.Options{ConnWindow: 65535, BodyIdle: 200 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			<-hold
		}
		b, _ := io.ReadAll(r.Body)
		io.WriteString(w, strconv.Itoa(len(b)))
	})
	k.point(k.registry.All()[0].Target().Address, "ingress.max-inflight=1", "ingress.wait=60s")
	p := k.dial()
	p.get(1, "/hold") // has the only place
	waiting := bytes.Repeat([]byte("x"), 16_000)
	window := 65535
	for id := uint32(3); id <= 9; id += 2 { // these wait for it, whole, and hold 64,000
		p.post(id, "/", "content-length", "16000")
		p.f.WriteData(id, true, waiting)
		window -= 16_000
	}
	const late = 11
	p.post(late, "/", "content-length", "5000")
	p.f.WriteData(late, false, waiting[:window]) // and no more is allowed
	sent := window
	// The body of stream 11 is late by far, if that is the client's fault.
	time.AfterFunc(time.Second, func() { close(hold) })
	window = 0
	for done := false; !done; {
		f, err := p.f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 && sent < 5000 {
				n := min(int(f.Increment), 5000-sent)
				sent += n
				p.f.WriteData(late, sent == 5000, waiting[:n])
			}
		case *http2.DataFrame:
			if f.StreamID == late {
				if string(f.Data()) != "5000" {
					t.Errorf("the late one is answered %q", f.Data())
				}
				done = true
			}
		case *http2.RSTStreamFrame:
			t.Fatalf("stream %d is reset: %v", f.StreamID, f.ErrCode)
		}
	}
}

// TestNextStreamAtOnce: a client that sees the end of a stream may open the next one,
// whatever serai still does for the last.
func TestNextStreamAtOnce(t *testing.T) {
	const most = 8
	k := newStack(t, engine.Options{MaxStreams: most, Resets: 10_000}, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") })
	p := k.dial()
	p.f.WriteWindowUpdate(0, 1<<30)
	next := uint32(1)
	open := func() {
		if err := p.get(next, "/"); err != nil {
			t.Fatal(err)
		}
		next += 2
	}
	for range most {
		open()
	}
	for ended := 0; ended < 10_000; {
		f, err := p.f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			t.Fatalf("stream %d is reset after %d: %v", f.StreamID, ended, f.ErrCode)
		case *http2.HeadersFrame, *http2.MetaHeadersFrame, *http2.DataFrame:
			if f.Header().Flags.Has(http2.FlagDataEndStream) {
				ended++
				open()
			}
		}
	}
}

// TestPaddedBody: padding takes of the window of a stream; the window is given back
// before the body, which is waited for as a whole, could not come to its end.
func TestPaddedBody(t *testing.T) {
	k := newStack(t, engine.Options{BodyIdle: time.Second}, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		io.WriteString(w, strconv.Itoa(len(b)))
	})
	const size = 65_000
	p := k.dial()
	p.post(1, "/", "content-length", strconv.Itoa(size))
	window, left := 65536, size
	var body string
	for body == "" {
		for left > 0 && window > 256 {
			n := min(left, 16_000, window-256)
			left -= n
			window -= n + 256
			if err := p.f.WriteDataPadded(1, left == 0, make([]byte, n), make([]byte, 255)); err != nil {
				t.Fatal(err)
			}
		}
		f, err := p.f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 1 {
				window += int(f.Increment)
			}
		case *http2.DataFrame:
			body = string(f.Data())
		case *http2.RSTStreamFrame:
			t.Fatalf("it is reset: %v", f.ErrCode)
		}
	}
	if body != strconv.Itoa(size) {
		t.Errorf("it is answered %q", body)
	}
}

// TestRestOfARefusedBody: a small body that nobody wants may come to its end, beyond the
// window of its stream, too; the stream is not reset, and the connection goes on. A large
// one, and one of unknown length, are ended.
func TestRestOfARefusedBody(t *testing.T) {
	k := newStack(t, engine.Options{StreamWindow: 65535}, func(http.ResponseWriter, *http.Request) { t.Error("it reaches the instance") })
	for _, c := range []struct {
		size  int // -1 for unknown
		reset bool
	}{{1, false}, {60_000, false}, {200_000, false}, {300_000, true}, {-1, true}} {
		p := k.dial()
		fields := []string{":method", "POST", ":scheme", "http", ":authority", "nobody.test", ":path", "/"}
		if c.size >= 0 {
			fields = append(fields, "content-length", strconv.Itoa(c.size))
		}
		p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block(fields...), EndHeaders: true})
		ended, reset, window, left := false, false, 65535, max(c.size, 0)
		for !ended || left > 0 && !reset || c.reset && !reset {
			for n := min(left, window, 16_000); ended && !reset && n > 0; n = min(left, window, 16_000) {
				left -= n
				window -= n
				if p.f.WriteData(1, left == 0, make([]byte, n)) != nil {
					t.Fatal("the connection ends")
				}
			}
			if ended && left == 0 && !c.reset {
				break
			}
			f, err := p.f.ReadFrame()
			if err != nil {
				t.Fatalf("%d bytes: %v", c.size, err)
			}
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 1 {
					window += int(f.Increment)
				}
			case *http2.RSTStreamFrame:
				reset = true
			default:
				ended = ended || f.Header().StreamID == 1 && f.Header().Flags.Has(http2.FlagDataEndStream)
			}
		}
		p.f.WritePing(false, [8]byte{1})
		for pong := false; !pong; {
			f, err := p.f.ReadFrame()
			if err != nil {
				t.Fatalf("%d bytes: the connection has ended: %v", c.size, err)
			}
			_, late := f.(*http2.RSTStreamFrame)
			reset = reset || late
			ping, ok := f.(*http2.PingFrame)
			pong = ok && ping.IsAck()
		}
		if reset != c.reset {
			t.Errorf("%d bytes: reset is %v", c.size, reset)
		}
	}
}

// TestManyRefusedBodies: as many requests as there may be are refused at once, and all
// the bodies come; the streams are under way until they have, and none is reset.
func TestManyRefusedBodies(t *testing.T) {
	const most = 100
	k := newStack(t, engine.Options{MaxStreams: most}, func(http.ResponseWriter, *http.Request) { t.Error("it reaches the instance") })
	p := k.dial()
	post := func(id uint32) {
		p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: p.Block(
			":method", "POST", ":scheme", "http", ":authority", "nobody.test", ":path", "/", "content-length", "10")})
	}
	answers := func(n int) (refused int) {
		for n > 0 {
			f, err := p.f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch f := f.(type) {
			case *http2.RSTStreamFrame:
				if f.ErrCode != http2.ErrCodeRefusedStream {
					t.Fatalf("stream %d is reset: %v", f.StreamID, f.ErrCode)
				}
				refused++
				n--
			default:
				if f.Header().Type == http2.FrameData && f.Header().Flags.Has(http2.FlagDataEndStream) {
					n--
				}
			}
		}
		return refused
	}
	for i := range uint32(most) {
		post(1 + 2*i)
	}
	if n := answers(most); n != 0 {
		t.Fatalf("%d are refused", n)
	}
	post(1 + 2*most)
	if answers(1) != 1 {
		t.Error("one more is taken while all may send")
	}
	for i := range uint32(most) {
		p.f.WriteData(1+2*i, false, make([]byte, 4))
		p.f.WriteData(1+2*i, true, make([]byte, 6))
	}
	post(3 + 2*most)
	if answers(1) != 0 {
		t.Error("one is refused when all have sent")
	}
	p.f.WriteData(3+2*most, true, make([]byte, 11)) // more than was told
	if f, err := p.f.ReadFrame(); err != nil || f.Header().Type != http2.FrameRSTStream {
		t.Errorf("what is too long is answered by %v, %v", f, err)
	}
}

// TestWindowsBehindTheEnd: a client with large windows gets whole answers before its program reads
// them. Go's opens the windows of the stream and of the connection for every 4 KiB that are read
// then, although the stream has ended for serai. That is not too often.
func TestWindowsBehindTheEnd(t *testing.T) {
	const size, answers, step = 1 << 20, 32, 4096
	k := newStack(t, engine.Options{}, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, size)) })
	p := k.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4 << 20})
	p.f.WriteWindowUpdate(0, 1<<30)
	for i := range answers {
		p.get(uint32(2*i+1), "/")
	}
	for came, ended := 0, 0; ended < answers; {
		f, err := p.f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := f.(*http2.DataFrame); ok {
			if came += len(d.Data()); d.StreamEnded() {
				ended++
			}
		}
	}
	for range size / step {
		for i := range answers {
			p.f.WriteWindowUpdate(uint32(2*i+1), step)
			p.f.WriteWindowUpdate(0, step)
		}
	}
	const last = 2*answers + 1
	p.get(last, "/")
	if status, body, _, whole := p.answer(last); status != "200" || len(body) != size || !whole {
		t.Errorf("then it is answered %s with %d bytes, whole %v", status, len(body), whole)
	}
}

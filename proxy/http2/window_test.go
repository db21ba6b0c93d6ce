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
	k.point(k.registry.Endpoints()[0].Target.Address, "ingress.max-inflight=1", "ingress.wait=60s")
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

package http2_test

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	engine "serai/proxy/http2"
)

// TestAnsweredWithinItsLastFrame: a request is answered while the frame that ends it, with
// the body or with trailers, is still coming. The stream is over once the rest of that frame
// has come: however often this happens, the client may open as many streams as before.
func TestAnsweredWithinItsLastFrame(t *testing.T) {
	for name, trailers := range map[string]bool{"DATA": false, "trailers": true} {
		t.Run(name, func(t *testing.T) { answeredWithin(t, trailers) })
	}
}

func answeredWithin(t *testing.T, trailers bool) {
	const most, early = 4, 1
	size := 10_000
	if trailers {
		size = 100 // so that all that comes together is read at once
	}
	k := newStack(t, engine.Options{MaxStreams: most}, func(http.ResponseWriter, *http.Request) { t.Error("it reaches the instance") })
	p := k.dial()
	var begun bytes.Buffer // what comes together: a head, and the start of the last frame
	f := http2.NewFramer(&begun, nil)
	for i := range uint32(8 * most) {
		id := 1 + 2*i
		begun.Reset()
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: p.Block(
			":method", "POST", ":scheme", "http", ":authority", "nobody.test", ":path", "/", "content-length", strconv.Itoa(size))})
		head := begun.Len()
		f.WriteData(id, !trailers, make([]byte, size))
		if trailers {
			head = begun.Len()
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: p.Block("x-checksum", strconv.Itoa(int(id)))})
		}
		frames := bytes.Clone(begun.Bytes())
		cut := head + 9 + early
		if _, err := p.c.Write(frames[:cut]); err != nil {
			t.Fatal(err)
		}
		if status, _, code, whole := p.answer(id); status != "404" || !whole {
			t.Fatalf("request %d is answered %q, %v", i, status, code)
		}
		if _, err := p.c.Write(frames[cut:]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResetOfTheRest: a client that has its answer need not send the rest of the body, and
// says so with a reset. It has cost no more than any other request, and may do so at any rate.
func TestResetOfTheRest(t *testing.T) {
	const uploads = 100
	k := newStack(t, engine.Options{Resets: 1}, func(http.ResponseWriter, *http.Request) { t.Error("it reaches the instance") })
	p := k.dial()
	for i := range uint32(uploads) {
		id := 1 + 2*i
		p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: p.Block(
			":method", "POST", ":scheme", "http", ":authority", "nobody.test", ":path", "/", "content-length", "1000")})
		if status, _, code, whole := p.answer(id); status != "404" || !whole {
			t.Fatalf("request %d is answered %q, %v", i, status, code)
		}
		p.f.WriteRSTStream(id, http2.ErrCodeNo)
	}
	// So it is where the rest has no known length and serai resets the stream, too: a client of
	// gRPC does so for each call that the server ends first (grpc-java 2163).
	for i := range uint32(uploads) {
		id := 1 + 2*(uploads+i)
		p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: p.Block(
			":method", "POST", ":scheme", "http", ":authority", "nobody.test", ":path", "/", "content-type", "application/grpc")})
		if status, _, code, whole := p.answer(id); !strings.HasPrefix(status, "200") || !whole {
			t.Fatalf("call %d is answered %q, %v", i, status, code)
		}
		p.f.WriteRSTStream(id, http2.ErrCodeNo)
	}
	// Resets of what is over already count.
	for range 20 {
		p.f.WriteRSTStream(1, http2.ErrCodeNo)
	}
	if code, _ := p.goAway(); code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the connection ends with %v", code)
	}
}

// TestRestOfManyAnswered: what a client has sent of all the requests that it may have at once, before
// it has read that they are answered and reset, is nobody's fault.
func TestRestOfManyAnswered(t *testing.T) {
	const most = 128
	k := newStack(t, engine.Options{MaxStreams: most, Resets: 1}, func(http.ResponseWriter, *http.Request) { t.Error("it reaches the instance") })
	p := k.dial()
	for i := range uint32(most) {
		p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1 + 2*i, EndHeaders: true, BlockFragment: p.Block(
			":method", "POST", ":scheme", "http", ":authority", "nobody.test", ":path", "/")})
	}
	for resets := 0; resets < most; {
		f, err := p.f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := f.(*http2.RSTStreamFrame); ok {
			resets++
		}
	}
	for i := range uint32(most) {
		for range 3 {
			p.f.WriteData(1+2*i, false, make([]byte, 100))
		}
		if i%2 == 0 {
			p.f.WriteData(1+2*i, true, nil)
		} else {
			p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1 + 2*i, EndHeaders: true, EndStream: true, BlockFragment: p.Block("x-sum", "1")})
		}
	}
	const last = 1 + 2*most
	p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: last, EndHeaders: true, EndStream: true, BlockFragment: p.Block(
		":method", "GET", ":scheme", "http", ":authority", "nobody.test", ":path", "/")})
	if status, _, code, whole := p.answer(last); status != "404" || !whole {
		t.Errorf("the next request is answered %q, %v", status, code)
	}
}

package http1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"serai/upstream"
	"serai/wire"
)

// asking is a Caller whose request is wanted until it says otherwise.
type asking struct {
	unwanted bool
	held     chan upstream.Stream // gets the stream, if there is one
}

func (a *asking) Hold(s upstream.Stream) bool {
	if a.held != nil {
		a.held <- s
	}
	return !a.unwanted
}
func (a *asking) Interim(*wire.ResponseHead) error { return nil }
func (a *asking) Panicked(any) error               { return io.ErrUnexpectedEOF }

// rest is the rest of a body.
type rest struct {
	pieces chan string // closed at its end
	err    error       // instead of a clean end
	over   bool
	asked  chan struct{} // closed when it is interrupted
}

func (b *rest) Next() ([]byte, error) {
	select {
	case s, more := <-b.pieces:
		if more {
			return []byte(s), nil
		}
		if b.err != nil {
			return nil, b.err
		}
		b.over = true
		return nil, io.EOF
	case <-b.asked:
		return nil, io.ErrClosedPipe
	}
}
func (b *rest) Done() bool             { return b.over }
func (b *rest) Trailers() []wire.Field { return nil }
func (b *rest) Interrupt()             { close(b.asked) }

func request(c upstream.Caller) *upstream.Request {
	return &upstream.Request{
		Head:     &wire.OutgoingRequest{Method: []byte("GET"), Target: []byte("/"), Authority: []byte("a.test")},
		Complete: true, Now: time.Now(), Connect: long, Answer: long, Caller: c,
		Bounds: &upstream.Bounds{Head: wire.DefaultLimits(), Interim: 2, WriteIdle: long},
	}
}

// listening lets the next of play handle each connection. It is called when the first
// request is complete, and the connection is closed after it.
func listening(t *testing.T, play ...func(c net.Conn, r *bufio.Reader)) *upstream.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, p := range play {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(long))
			r := bufio.NewReader(c)
			readHead(r)
			p(c, r)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New})
	e := r.Acquire(upstream.Target{Address: l.Addr().String(), Instance: "a"})
	t.Cleanup(func() { r.Release(e) })
	return e
}

func readHead(r *bufio.Reader) (head string) {
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if head += line; err != nil {
			break
		}
	}
	return head
}

func says(s string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, _ *bufio.Reader) { io.WriteString(c, s) }
}

// TestWhatIsKnown: each end of an attempt says what is known about processing.
func TestWhatIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		play  func(net.Conn, *bufio.Reader)
		kind  upstream.FailureKind
		known upstream.Processing
	}{
		"closed at once":     {says(""), upstream.FailedClosed, upstream.Unknown},
		"closed in the head": {says("HTTP/1.1 200 O"), upstream.FailedClosed, upstream.Answered},
		"closed after a 102": {says("HTTP/1.1 102 Processing\r\n\r\n"), upstream.FailedClosed, upstream.Answered},
		"malformed":          {says("220 mail.example.org\r\n"), upstream.FailedAnswer, upstream.Answered},
		"too many 1xx":       {says(strings.Repeat("HTTP/1.1 102 P\r\n\r\n", 3)), upstream.FailedInterim, upstream.Answered},
		"switched":           {says("HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), upstream.FailedSwitch, upstream.Answered},
	} {
		t.Run(name, func(t *testing.T) {
			f := listening(t, c.play).Transport().RoundTrip(request(&asking{}), &upstream.Answer{})
			if f == nil || f.Kind != c.kind || f.Processing != c.known {
				t.Errorf("failed with %+v, want %d and %d", f, c.kind, c.known)
			}
		})
	}
	t.Run("no listener", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New})
		e := r.Acquire(upstream.Target{Address: l.Addr().String(), Instance: "a"})
		defer r.Release(e)
		if f := e.Transport().RoundTrip(request(&asking{}), &upstream.Answer{}); f == nil || f.Kind != upstream.FailedConnect || f.Processing != upstream.NotSent {
			t.Errorf("failed with %+v, want the connect, not sent", f)
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
				c.Close()
			}
		}()
		r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New})
		e := r.Acquire(upstream.Target{Address: l.Addr().String(), Instance: "a", Scheme: upstream.HTTPS})
		defer r.Release(e)
		if f := e.Transport().RoundTrip(request(&asking{}), &upstream.Answer{}); f == nil || f.Kind != upstream.FailedHandshake || f.Processing != upstream.Refused {
			t.Errorf("failed with %+v, want the handshake, refused", f)
		}
	})
	t.Run("unwanted", func(t *testing.T) {
		e := listening(t, says(""))
		if f := e.Transport().RoundTrip(request(&asking{unwanted: true}), &upstream.Answer{}); f == nil || f.Kind != upstream.FailedCaller || f.Processing != upstream.NotSent {
			t.Errorf("failed with %+v, want the caller, not sent", f)
		}
	})
}

// TestStaleCostsNothing: idle connections that the instance has closed cost the request
// nothing.
func TestStaleCostsNothing(t *testing.T) {
	const fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
	e := listening(t, says(fine), says(fine))
	tr := e.Transport().(*Transport)
	ask := func() {
		t.Helper()
		a := &upstream.Answer{}
		if f := tr.RoundTrip(request(&asking{}), a); f != nil {
			t.Fatal(f)
		}
		if data, err := a.Stream.Next(); string(data) != "fine" || err != nil {
			t.Fatalf("the answer is %q, %v", data, err)
		}
		a.Stream.End(true)
	}
	ask()
	await(t, "an idle connection that is closed", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.idle) == 1 && !tr.idle[0].Reusable()
	})
	ask()
}

// TestWhatKeepsItsConnection: a request of which nobody knows what the instance makes has the
// last word on its connection, or a part of it could become the beginning of the next one.
func TestWhatKeepsItsConnection(t *testing.T) {
	for name, c := range map[string]struct {
		method, body, upgrade string
		kept                  bool
	}{
		"GET": {method: "GET", kept: true}, "HEAD": {method: "HEAD", kept: true}, "DELETE": {method: "DELETE", kept: true},
		"POST with a body": {method: "POST", body: "abc", kept: true}, "OPTIONS with a body": {method: "OPTIONS", body: "abc"},
		"PROPFIND with a body": {method: "PROPFIND", body: "abc", kept: true}, "GET with nothing for a body": {method: "GET", body: "-", kept: true},
		"GET with a body": {method: "GET", body: "abc"}, "HEAD with a body": {method: "HEAD", body: "abc"},
		"DELETE with a body": {method: "DELETE", body: "abc"}, "TRACE with a body": {method: "TRACE", body: "abc"},
		"GET for a protocol": {method: "GET", upgrade: "websocket"}, "POST for a protocol": {method: "POST", body: "abc", upgrade: "tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			e := listening(t, says("HTTP/1.1 204 No Content\r\n\r\n"))
			tr := e.Transport().(*Transport)
			r, a := request(&asking{}), &upstream.Answer{}
			r.Head.Method, r.Head.Upgrade = []byte(c.method), []byte(c.upgrade)
			if c.body != "" {
				r.First = []byte(strings.Trim(c.body, "-"))
				r.Head.Framing, r.Head.Size = wire.Length, int64(len(r.First))
			}
			if f := tr.RoundTrip(r, a); f != nil {
				t.Fatal(f)
			}
			a.Stream.End(true)
			if n := tr.Status().Idle; (n == 1) != c.kept {
				t.Errorf("%d idle connections, kept %v", n, c.kept)
			}
		})
	}
}

// TestSpentConnectionFreesItsPort: a client can have a connection to an instance closed with
// each request. If each kept its local port for a minute, none would be left to others.
func TestSpentConnectionFreesItsPort(t *testing.T) {
	for name, c := range map[string]struct {
		method, body, upgrade, answer string
		reset                         bool
	}{
		"GET with a body":              {method: "GET", body: "abc", answer: "Content-Length: 2", reset: true},
		"upgrade that is refused":      {method: "GET", upgrade: "websocket", answer: "Content-Length: 2", reset: true},
		"the same, and a close":        {method: "GET", body: "abc", answer: "Content-Length: 2\r\nConnection: close", reset: true},
		"POST, and the instance's end": {method: "POST", body: "abc", answer: "Content-Length: 2\r\nConnection: close"},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			e := listening(t, func(conn net.Conn, r *bufio.Reader) {
				io.CopyN(io.Discard, r, int64(len(c.body)))
				io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+c.answer+"\r\n\r\nok")
				_, err := r.ReadByte()
				ended <- err
			})
			r, a := request(&asking{}), &upstream.Answer{}
			r.Head.Method, r.Head.Upgrade = []byte(c.method), []byte(c.upgrade)
			if r.First = []byte(c.body); c.body != "" {
				r.Head.Framing, r.Head.Size = wire.Length, int64(len(r.First))
			}
			if f := e.Transport().RoundTrip(r, a); f != nil {
				t.Fatal(f)
			}
			if b, err := a.Stream.Next(); string(b) != "ok" || err != nil {
				t.Fatalf("%q, %v", b, err)
			}
			a.Stream.End(true)
			if err := <-ended; errors.Is(err, syscall.ECONNRESET) != c.reset {
				t.Errorf("the instance reads %v, a reset %v", err, c.reset)
			}
		})
	}
}

// TestUploadEndsWithTheAttempt: whatever ends an attempt, the body is not used
// afterwards.
func TestUploadEndsWithTheAttempt(t *testing.T) {
	post := func(b *rest) *upstream.Request {
		r := request(&asking{})
		r.Head.Method, r.Head.Framing = []byte("POST"), wire.Chunked
		r.Complete, r.Body = false, b
		return r
	}
	t.Run("an early answer", func(t *testing.T) {
		e := listening(t, says("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"))
		b := &rest{pieces: make(chan string), asked: make(chan struct{})}
		a := &upstream.Answer{}
		if f := e.Transport().RoundTrip(post(b), a); f != nil || a.Head.Status != 413 {
			t.Fatalf("failed with %v, status %d", f, a.Head.Status)
		}
		a.Stream.End(true)
		<-b.asked
		if n := e.Status().Idle; n != 0 {
			t.Error("a connection is kept in the middle of a request")
		}
	})
	t.Run("a body that fails", func(t *testing.T) {
		e := listening(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
		b := &rest{pieces: make(chan string, 1), asked: make(chan struct{}), err: wire.ErrBodyCut}
		b.pieces <- "some"
		close(b.pieces)
		if f := e.Transport().RoundTrip(post(b), &upstream.Answer{}); f == nil || f.Kind != upstream.FailedBody || f.Err != wire.ErrBodyCut {
			t.Errorf("failed with %+v", f)
		}
	})
	t.Run("an interrupt", func(t *testing.T) {
		r := post(&rest{pieces: make(chan string), asked: make(chan struct{})})
		held := make(chan upstream.Stream, 1)
		r.Caller = &asking{held: held}
		e := listening(t, func(_ net.Conn, in *bufio.Reader) {
			(<-held).Interrupt()
			io.Copy(io.Discard, in)
		})
		if f := e.Transport().RoundTrip(r, &upstream.Answer{}); f == nil || f.Kind != upstream.FailedTimeout {
			t.Errorf("failed with %+v", f)
		}
	})
}

// TestRefusedUpgradeKeepsNothing: what an instance that does not switch has made of a body
// that came with the question is not known. What it answers later may be to that
// (CVE-2026-58055), so that no other request gets the connection.
func TestRefusedUpgradeKeepsNothing(t *testing.T) {
	for protocol, want := range map[string]int{"": 1, "websocket": 0} {
		over := make(chan struct{})
		e := listening(t, func(c net.Conn, _ *bufio.Reader) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			<-over
		})
		r := request(&asking{})
		r.Head.Upgrade = []byte(protocol)
		var a upstream.Answer
		if f := e.Transport().RoundTrip(r, &a); f != nil {
			t.Fatalf("failed with %+v", f)
		}
		a.Stream.ReadWithin(time.Now(), long)
		if data, err := a.Stream.Next(); string(data) != "ok" || err != nil {
			t.Errorf("answered %q, %v", data, err)
		}
		a.Stream.End(true)
		if n := e.Transport().Status().Idle; n != want {
			t.Errorf("of a request with Upgrade %q %d connections are kept, want %d", protocol, n, want)
		}
		close(over)
	}
}

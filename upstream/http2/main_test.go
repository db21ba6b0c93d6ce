package http2_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/upstream"
	"serai/upstream/http1"
	"serai/upstream/http2"
	"serai/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long bounds waits for what must happen; no test passes by its passing.
const long = time.Minute

// versions are the transports that the same cases are run over.
var versions = map[string]struct {
	scheme upstream.Scheme
	make   func(*upstream.Endpoint, upstream.Keeping) upstream.Transport
}{
	"HTTP/1": {upstream.HTTP, http1.New},
	"HTTP/2": {upstream.H2C, http2.New(http2.Options{})},
}

// asking is a caller whose request is wanted until it says otherwise.
type asking struct {
	unwanted bool
	held     chan upstream.Stream // gets it, where there is one
	interims []int
}

func (a *asking) Hold(s upstream.Stream) bool {
	if a.held != nil {
		a.held <- s
	}
	return !a.unwanted
}

func (a *asking) Interim(h *wire.ResponseHead) error {
	a.interims = append(a.interims, h.Status)
	return nil
}
func (a *asking) Panicked(any) error { return io.ErrUnexpectedEOF }

// rest is the rest of a body.
type rest struct {
	pieces   chan string // closed at its end
	err      error       // in place of a clean end
	trailers []wire.Field
	over     bool
	asked    chan struct{} // closed when it is interrupted
	once     sync.Once
}

func newRest(pieces ...string) *rest {
	r := &rest{pieces: make(chan string, 16), asked: make(chan struct{})}
	for _, p := range pieces {
		r.pieces <- p
	}
	return r
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
func (b *rest) Trailers() []wire.Field { return b.trailers }
func (b *rest) Interrupt()             { b.once.Do(func() { close(b.asked) }) }

func request(c upstream.Caller, method, target string) *upstream.Request {
	return &upstream.Request{
		Head: &wire.OutgoingRequest{Method: []byte(method), Target: []byte(target), Authority: []byte("a.test")},
		Body: newRest(), Complete: true, Host: []byte("a.test"), Now: time.Now(), Connect: long, Answer: long, Caller: c,
		Bounds: &upstream.Bounds{Head: wire.DefaultLimits(), Interim: 4, WriteIdle: long},
	}
}

// streamed makes r send body, of which nothing has come yet.
func streamed(r *upstream.Request, body upstream.RequestBody) *upstream.Request {
	r.Head.Framing, r.Body, r.Complete = wire.Chunked, body, false
	return r
}

// endpoint makes one for an address.
func endpoint(t *testing.T, target upstream.Target, o upstream.RegistryOptions) *upstream.Endpoint {
	t.Helper()
	r := upstream.NewRegistry(o)
	target.Instance = "a"
	e := r.Acquire(target)
	t.Cleanup(func() { r.Release(e) })
	return e
}

// serve has h answer HTTP/1 and HTTP/2 on one port, without TLS.
func serve(t *testing.T, h http.HandlerFunc) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
		<-done
	})
	return l.Addr().String()
}

// over runs f over each transport, with an endpoint that h answers.
func over(t *testing.T, h http.HandlerFunc, f func(t *testing.T, e *upstream.Endpoint)) {
	t.Helper()
	for name, v := range versions {
		t.Run(name, func(t *testing.T) {
			f(t, endpoint(t, upstream.Target{Address: serve(t, h), Scheme: v.scheme}, upstream.RegistryOptions{Transport: v.make}))
		})
	}
}

// answer is all of one.
type answer struct {
	head     wire.ResponseHead
	body     string
	trailers []wire.Field
	err      error
}

// roundTrip makes a request and reads its answer to the end.
func roundTrip(t *testing.T, e *upstream.Endpoint, r *upstream.Request) answer {
	t.Helper()
	var a upstream.Answer
	if f := e.Transport().RoundTrip(r, &a); f != nil {
		t.Fatalf("failed: kind %d, processing %d: %v", f.Kind, f.Processing, f.Err)
	}
	return readAll(&a)
}

func readAll(a *upstream.Answer) answer {
	got := answer{head: a.Head}
	got.head.Fields = nil
	for _, f := range a.Head.Fields {
		got.head.Fields = append(got.head.Fields, clone(f))
	}
	for {
		a.Stream.ReadWithin(time.Now(), long)
		data, err := a.Stream.Next()
		got.body += string(data)
		if err != nil {
			if err != io.EOF {
				got.err = err
			}
			break
		}
	}
	for _, f := range a.Stream.Trailers() {
		got.trailers = append(got.trailers, clone(f))
	}
	a.Stream.End(got.err == nil)
	return got
}

func clone(f wire.Field) wire.Field {
	return wire.Field{Name: append([]byte(nil), f.Name...), Value: append([]byte(nil), f.Value...), Kind: f.Kind}
}

// until waits until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
	}
}

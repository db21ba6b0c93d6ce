// Package decisions_test shows what the decisions beside it rest on, with the
// versions in go.mod. A test that fails after an upgrade is no fault of
// serai's: it says that a decision should be read again.
package decisions_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// bound is how long a test waits for what must happen.
	bound = 20 * time.Second
	// pause is how long a test waits to see that something does not happen.
	pause = 300 * time.Millisecond
)

// quiet discards what a server logs.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// serve runs s on a free port of the loopback until the test ends.
func serve(t *testing.T, s *fasthttp.Server) (address string) {
	t.Helper()
	l := listen(t)
	s.Logger = quiet{}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// dial connects to address; the connection is closed with the test.
func dial(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(bound))
	return c, bufio.NewReader(c)
}

// send writes text as it stands.
func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads one response.
func answer(t *testing.T, r *bufio.Reader) *fasthttp.Response {
	t.Helper()
	var a fasthttp.Response
	if err := a.Read(r); err != nil {
		t.Fatal(err)
	}
	return &a
}

// origin is a server that a test scripts byte by byte.
type origin struct {
	address string
	// requests counts those that came whole.
	requests atomic.Int32
}

// newOrigin gives each connection to talk and closes it when that returns.
func newOrigin(t *testing.T, talk func(o *origin, c net.Conn, r *bufio.Reader)) *origin {
	t.Helper()
	l := listen(t)
	o := &origin{address: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(bound))
				talk(o, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return o
}

// request reads one request with its body; false when none came.
func (o *origin) request(r *bufio.Reader) bool {
	var q fasthttp.Request
	if q.Read(r) != nil {
		return false
	}
	o.requests.Add(1)
	return true
}

// client returns a client of o; its idle connections are closed with the test.
func (o *origin) client(t *testing.T) *fasthttp.HostClient {
	c := &fasthttp.HostClient{Addr: o.address}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// ask sends a request without a body.
func ask(c *fasthttp.HostClient, method string, a *fasthttp.Response) error {
	var q fasthttp.Request
	q.SetRequestURI("http://" + c.Addr + "/")
	q.Header.SetMethod(method)
	return c.Do(&q, a)
}

// wait returns what comes from ch within the bound.
func wait[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(bound):
		t.Fatalf("no %s within %v", what, bound)
		panic("not reached")
	}
}

// timedOut tells whether err is one of the timeouts in use.
func timedOut(err error) bool {
	return errors.Is(err, fasthttp.ErrTimeout) || errors.Is(err, os.ErrDeadlineExceeded)
}

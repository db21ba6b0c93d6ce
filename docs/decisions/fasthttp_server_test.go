package decisions_test

import (
	"bufio"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// The claims of 0001-fasthttp.md about fasthttp.Server, in its order.

// Up to 1.77 the handler read a clean end.
func TestServerReportsAChunkedBodyCutAtAChunkBoundary(t *testing.T) {
	for name, sent := range map[string]string{
		"after a chunk":          "5\r\nhello\r\n",
		"after the last chunk":   "5\r\nhello\r\n0\r\n",
		"before the first chunk": "",
	} {
		t.Run(name, func(t *testing.T) {
			read := make(chan error, 1)
			address := serve(t, &fasthttp.Server{StreamRequestBody: true, Handler: func(c *fasthttp.RequestCtx) {
				_, err := io.ReadAll(c.RequestBodyStream())
				read <- err
			}})
			c, _ := dial(t, address)
			send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+sent)
			c.(*net.TCPConn).CloseWrite()
			if err := wait(t, "end of the body", read); err == nil {
				t.Error("the handler read a clean end")
			}
		})
	}
}

func TestServerNeverHandsOverABufferedBodyThatWasCut(t *testing.T) {
	var called atomic.Bool
	address := serve(t, &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) { called.Store(true) }})
	c, r := dial(t, address)
	send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	c.(*net.TCPConn).CloseWrite()
	if text, err := io.ReadAll(r); len(text) > 0 || err != nil || called.Load() {
		t.Errorf("answer %q, %v, handler called: %v; want neither", text, err, called.Load())
	}
}

func TestServerReadsAStreamedBodyCutShortOfContentLengthAsCleanEnd(t *testing.T) {
	type end struct {
		n   int
		err error
	}
	read := make(chan end, 1)
	address := serve(t, &fasthttp.Server{StreamRequestBody: true, Handler: func(c *fasthttp.RequestCtx) {
		body, err := io.ReadAll(c.RequestBodyStream())
		read <- end{len(body), err}
	}})
	const promised, sent = 100_000, 50_000 // the first 8 KiB are read before the handler is called
	c, r := dial(t, address)
	send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", sent))
	c.(*net.TCPConn).CloseWrite()
	if got := wait(t, "end of the body", read); got != (end{sent, nil}) {
		t.Errorf("the handler read %d of %d bytes, then %v; want %d and no error", got.n, promised, got.err, sent)
	}
	if a := answer(t, r); a.StatusCode() != 200 || a.ConnectionClose() {
		t.Errorf("status %d, closing %v; want 200 and an open connection", a.StatusCode(), a.ConnectionClose())
	}
}

// exhausted is a listener whose first Accept fails as it does when the process
// has no file descriptor left.
type exhausted struct {
	net.Listener
	failed atomic.Bool
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.failed.CompareAndSwap(false, true) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestAcceptErrorEndsServe(t *testing.T) {
	l := &exhausted{Listener: listen(t)}
	defer l.Close()
	ended := make(chan error, 1)
	go func() {
		ended <- (&fasthttp.Server{Logger: quiet{}, Handler: func(*fasthttp.RequestCtx) {}}).Serve(l)
	}()
	if err := wait(t, "end of Serve", ended); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Serve ended with %v, want %v", err, syscall.EMFILE)
	}
	t.Run("net/http goes on", func(t *testing.T) {
		l := &exhausted{Listener: listen(t)}
		s := &http.Server{ErrorLog: log.New(io.Discard, "", 0)}
		defer s.Close()
		go s.Serve(l)
		c, r := dial(t, l.Addr().String())
		send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if a := answer(t, r); a.StatusCode() != 404 || !l.failed.Load() {
			t.Errorf("status %d, failed %v; want 404 after the failure", a.StatusCode(), l.failed.Load())
		}
	})
}

// ReadTimeout spans head and body, whatever progress is made.
func TestServerReadTimeoutIsAbsolute(t *testing.T) {
	var called atomic.Bool
	address := serve(t, &fasthttp.Server{ReadTimeout: 250 * time.Millisecond, Handler: func(*fasthttp.RequestCtx) { called.Store(true) }})
	c, r := dial(t, address)
	go func() { // a body that never stops coming
		_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
		for err == nil {
			time.Sleep(5 * time.Millisecond)
			_, err = io.WriteString(c, "x")
		}
	}()
	if a := answer(t, r); a.StatusCode() != 408 || called.Load() {
		t.Errorf("status %d, handler called: %v; want 408 without the handler", a.StatusCode(), called.Load())
	}
}

// Without ReadTimeout a head may take for ever; IdleTimeout is no help.
func TestServerHasNoTimeoutForTheHeadAlone(t *testing.T) {
	const idle = 50 * time.Millisecond
	address := serve(t, &fasthttp.Server{IdleTimeout: idle, Handler: func(*fasthttp.RequestCtx) {}})
	c, r := dial(t, address)
	for _, request := range []string{"the first", "a later"} {
		send(t, c, "GET / HTTP/1.1\r\n")
		time.Sleep(max(pause, 3*idle))
		send(t, c, "Host: a\r\n\r\n")
		if a := answer(t, r); a.StatusCode() != 200 {
			t.Errorf("%s request: status %d, want 200", request, a.StatusCode())
		}
	}
}

// It is the way around: ReadTimeout bounds the head, and HeaderReceived starts
// another absolute deadline for the body.
func TestServerHeaderReceivedCanReplaceTheDeadlineOnce(t *testing.T) {
	const head = 200 * time.Millisecond
	address := serve(t, &fasthttp.Server{
		ReadTimeout: head,
		HeaderReceived: func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
			return fasthttp.RequestConfig{ReadTimeout: bound}
		},
		Handler: func(*fasthttp.RequestCtx) {},
	})
	c, r := dial(t, address)
	send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
	time.Sleep(max(pause, 2*head))
	send(t, c, "x")
	if a := answer(t, r); a.StatusCode() != 200 {
		t.Errorf("a body later than ReadTimeout: status %d, want 200", a.StatusCode())
	}
	c, r = dial(t, address)
	send(t, c, "POST / HTTP/1.1\r\n")
	if a := answer(t, r); a.StatusCode() != 400 { // not even 408: what timed out is not told
		t.Errorf("half a head: status %d, want 400", a.StatusCode())
	}
}

func TestServerAcceptsBareLFObsFoldAndCLWithTE(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"bare LF":           {"GET / HTTP/1.1\nHost: a\nX-A: b\r\n\r\n", "b|"},
		"obs-fold":          {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", "b c|"},
		"CL and TE":         {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "|hello"},
		"TE identity":       {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: identity\r\n\r\nabc", "|abc"},
		"a space in a name": {"GET / HTTP/1.1\r\nHost: a\r\nX A: c\r\nX-A: b\r\n\r\n", "b|"},
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) {
				c.SetBodyString(string(c.Request.Header.Peek("X-A")) + "|" + string(c.PostBody()))
			}})
			conn, r := dial(t, address)
			send(t, conn, c.raw)
			if a := answer(t, r); a.StatusCode() != 200 || string(a.Body()) != c.want {
				t.Errorf("answer %d %q, want 200 %q", a.StatusCode(), a.Body(), c.want)
			}
		})
	}
}

// A line may end with a bare LF, a head may not: RFC 9112, section 2.2, leaves
// both open.
func TestServerWantsCRLFAtTheEndOfAHead(t *testing.T) {
	address := serve(t, &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}})
	c, r := dial(t, address)
	send(t, c, "GET / HTTP/1.1\nHost: a\n\n")
	c.(*net.TCPConn).CloseWrite()
	if a := answer(t, r); a.StatusCode() != 400 {
		t.Errorf("status %d, want 400", a.StatusCode())
	}
}

// What follows a request with both is not served: the connection is closed.
func TestServerClosesAfterCLWithTE(t *testing.T) {
	address := serve(t, &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) { c.SetBodyString("served") }})
	c, r := dial(t, address)
	send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.(*net.TCPConn).CloseWrite()
	text, _ := io.ReadAll(r) // a reset is an end too: the second request was not read
	if n := strings.Count(string(text), "served"); n != 1 {
		t.Errorf("%d requests were served, want 1:\n%s", n, text)
	}
}

func TestServerDoesNotNoticeALeavingClient(t *testing.T) {
	called, release := make(chan *fasthttp.RequestCtx, 1), make(chan struct{})
	address := serve(t, &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) { called <- c; <-release }})
	defer close(release)
	c, _ := dial(t, address)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	ctx := wait(t, "request", called)
	leave(c)
	t.Run("net/http notices", func(t *testing.T) {
		called, left := make(chan struct{}), make(chan struct{})
		l := listen(t)
		s := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(called)
			<-r.Context().Done()
			close(left)
		})}
		defer s.Close()
		go s.Serve(l)
		c, _ := dial(t, l.Addr().String())
		send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		wait(t, "request", called)
		leave(c)
		wait(t, "notice", left)
	})
	select {
	case <-ctx.Done():
		t.Error("the context of the request is done")
	case <-time.After(pause):
	}
}

// leave resets c, so that no server can take it for a half-closed one.
func leave(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// The 100 is sent before the handler, let alone an instance, was asked.
func TestServerSays100ContinueBeforeTheHandler(t *testing.T) {
	var called atomic.Bool
	address := serve(t, &fasthttp.Server{StreamRequestBody: true, Handler: func(*fasthttp.RequestCtx) { called.Store(true) }})
	c, r := dial(t, address)
	send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if line := line(t, r); line != "HTTP/1.1 100 Continue" || called.Load() {
		t.Errorf("read %q, handler called: %v", line, called.Load())
	}
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(text, "\r\n")
}

func TestServerHasNoHTTP2(t *testing.T) {
	address := serve(t, &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}})
	c, r := dial(t, address)
	send(t, c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if a := answer(t, r); a.StatusCode() != 400 {
		t.Errorf("the preface of HTTP/2 was answered with %d, want 400", a.StatusCode())
	}
}

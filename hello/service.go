package hello

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

const (
	// maxHead bounds the head of a request, in bytes.
	maxHead = 64 << 10
	// maxBody bounds a message of a WebSocket, in bytes. Bodies are streamed
	// and have no bound.
	maxBody = 1 << 20
	// maxBytes bounds /bytes/N.
	maxBytes = 1 << 30
	// maxWait bounds the waits that a request may ask for.
	maxWait = time.Minute
)

// service is one running instance.
type service struct {
	Options
	// stopping ends streams that would never end, over ends everything.
	stopping, over context.Context
	conns          connections
	upgrader       websocket.FastHTTPUpgrader
}

func newService(o Options, stopping, over context.Context) *service {
	s := &service{Options: o, stopping: stopping, over: over}
	s.conns.open = make(map[net.Conn]fasthttp.ConnState)
	// A sample has nothing to protect from other sites' pages.
	s.upgrader.CheckOrigin = func(*fasthttp.RequestCtx) bool { return true }
	return s
}

// serve answers one request.
func (s *service) serve(c *fasthttp.RequestCtx) {
	if s.stopping.Err() != nil {
		c.SetConnectionClose()
	}
	path := string(c.Path())
	switch path {
	case "/healthz":
		c.SetBodyString("ok\n")
		return
	case "/echo":
		s.echo(c)
		return
	case "/slow":
		s.slow(c)
		return
	case "/sse":
		s.events(c)
		return
	case "/ws":
		s.webSocket(c)
		return
	}
	if status, ok := strings.CutPrefix(path, "/status/"); ok {
		s.status(c, status)
	} else if n, ok := strings.CutPrefix(path, "/bytes/"); ok {
		s.bytes(c, n)
	} else {
		s.tell(c)
	}
}

// echo answers with the body of the request and its framing. A chunked body is returned
// chunk by chunk, one with a length in blocks of a few KiB. If the request is cut off,
// the answer is, too.
func (s *service) echo(c *fasthttp.RequestCtx) {
	c.SetContentTypeBytes(c.Request.Header.ContentType())
	if body := c.RequestBodyStream(); body != nil {
		c.SetBodyStream(body, c.Request.Header.ContentLength())
	}
}

// slow waits before it answers: ?wait=2s, at most a minute. It waits to the end even if
// the client leaves, because fasthttp does not report that.
func (s *service) slow(c *fasthttp.RequestCtx) {
	wait := duration(c, "wait", 2*time.Second, 0)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		fmt.Fprintf(c, "%s waited %v\n", s.Name, wait)
	case <-s.over.Done():
	}
}

// status answers with the status in the path.
func (s *service) status(c *fasthttp.RequestCtx, text string) {
	status, ok := statusIn(text)
	if !ok {
		c.Error(badStatus+"\n", fasthttp.StatusBadRequest)
		return
	}
	c.SetStatusCode(status)
	fmt.Fprintf(c, "%s answers %d\n", s.Name, status)
}

// bytes answers with that many bytes.
func (s *service) bytes(c *fasthttp.RequestCtx, text string) {
	n, ok := countIn(text)
	if !ok {
		c.Error(badCount+"\n", fasthttp.StatusBadRequest)
		return
	}
	c.SetContentType("application/octet-stream")
	c.SetBodyStream(io.LimitReader(zeros{}, int64(n)), n)
}

// zeros is an endless stream of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// statusIn parses a status.
func statusIn(text string) (status int, ok bool) {
	status, err := strconv.Atoi(text)
	return status, err == nil && status >= 200 && status <= 599
}

// countIn parses a number of bytes.
func countIn(text string) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= maxBytes
}

// The answers to invalid ones.
var (
	badStatus = "want /status/200 to /status/599"
	badCount  = fmt.Sprintf("want /bytes/0 to /bytes/%d", maxBytes)
)

// duration reads a duration parameter, not below low and not above maxWait.
func duration(c *fasthttp.RequestCtx, name string, otherwise, low time.Duration) time.Duration {
	return durationIn(string(c.QueryArgs().Peek(name)), otherwise, low)
}

func durationIn(text string, otherwise, low time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		return otherwise
	}
	return min(max(d, low), maxWait)
}

// Package hello is the sample service: it answers with who it is and what it
// received, and can stream, wait, echo and fail on request.
package hello

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// Options say who the service is. Zero values mean the defaults named.
type Options struct {
	// Addr is listened on by Run, ":8080".
	Addr string
	// Name, Alloc and Node are answered; they may be empty.
	Name, Alloc, Node string
	// ShutdownTimeout bounds what is in flight when ctx ends, 10s.
	ShutdownTimeout time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// maxBody bounds what is read of a request's body at once, in bytes; /echo
// streams and has no bound.
const maxBody = 1 << 20

// service is one running instance.
type service struct {
	Options
	ctx      context.Context
	upgrader websocket.FastHTTPUpgrader
}

// Run listens on o.Addr and serves until ctx ends.
func Run(ctx context.Context, o Options) error {
	l, err := net.Listen("tcp", cmp.Or(o.Addr, ":8080"))
	if err != nil {
		return fmt.Errorf("sample service: %w", err)
	}
	return Serve(ctx, l, o)
}

// Serve serves l until ctx ends; then it stops accepting, and what is in
// flight has o.ShutdownTimeout.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &service{Options: o, ctx: ctx}
	s.upgrader.CheckOrigin = func(*fasthttp.RequestCtx) bool { return true }
	server := &fasthttp.Server{
		Handler: s.serve, Name: "serai-hello", StreamRequestBody: true, MaxRequestBodySize: maxBody,
		ReadBufferSize: 64 << 10, CloseOnShutdown: true, NoDefaultDate: false,
		Logger: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	o.Logger.Info("sample service", "name", o.Name, "alloc", o.Alloc, "address", l.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), cmp.Or(o.ShutdownTimeout, 10*time.Second))
	defer cancel()
	return server.ShutdownWithContext(last)
}

func (s *service) serve(c *fasthttp.RequestCtx) {
	path := string(c.Path())
	switch {
	case path == "/healthz":
		c.SetBodyString("ok\n")
	case path == "/echo":
		c.SetContentTypeBytes(c.Request.Header.ContentType())
		c.SetBodyStream(c.RequestBodyStream(), c.Request.Header.ContentLength())
	case path == "/slow":
		s.slow(c)
	case path == "/sse":
		s.events(c)
	case path == "/ws":
		s.webSocket(c)
	case strings.HasPrefix(path, "/status/"):
		s.status(c, strings.TrimPrefix(path, "/status/"))
	case strings.HasPrefix(path, "/bytes/"):
		s.bytes(c, strings.TrimPrefix(path, "/bytes/"))
	default:
		s.tell(c)
	}
}

// Answer is what the service tells, as JSON when that is accepted.
type Answer struct {
	Name    string      `json:"name"`
	Alloc   string      `json:"alloc"`
	Node    string      `json:"node"`
	Remote  string      `json:"remote"`
	Method  string      `json:"method"`
	Host    string      `json:"host"`
	Path    string      `json:"path"`
	Query   string      `json:"query"`
	Headers [][2]string `json:"headers"` // in the order they came
	Body    int64       `json:"body"`    // bytes
}

// tell answers with who it is and what it received.
func (s *service) tell(c *fasthttp.RequestCtx) {
	uri := c.URI()
	a := Answer{
		Name: s.Name, Alloc: s.Alloc, Node: s.Node, Remote: c.RemoteAddr().String(), Method: string(c.Method()),
		Host: string(c.Host()), Path: string(uri.PathOriginal()), Query: string(uri.QueryString()),
	}
	for k, v := range c.Request.Header.AllInOrder() {
		a.Headers = append(a.Headers, [2]string{string(k), string(v)})
	}
	if body := c.RequestBodyStream(); body != nil {
		a.Body, _ = io.Copy(io.Discard, body)
	}
	if strings.Contains(string(c.Request.Header.Peek("Accept")), "json") {
		c.SetContentType("application/json")
		json.NewEncoder(c).Encode(a)
		return
	}
	c.SetContentType("text/plain; charset=utf-8")
	fmt.Fprintf(c, "%s, allocation %s on %s\n\n%s %s", a.Name, cmp.Or(a.Alloc, "-"), cmp.Or(a.Node, "-"), a.Method, a.Path)
	if a.Query != "" {
		fmt.Fprintf(c, "?%s", a.Query)
	}
	fmt.Fprintln(c)
	for _, h := range a.Headers {
		fmt.Fprintf(c, "%s: %s\n", h[0], h[1])
	}
	if a.Body > 0 {
		fmt.Fprintf(c, "\n%d bytes of body\n", a.Body)
	}
}

// slow waits before it answers: ?wait=2s, at most a minute.
func (s *service) slow(c *fasthttp.RequestCtx) {
	wait := between(c, "wait", 2*time.Second, 0, time.Minute)
	select {
	case <-time.After(wait):
	case <-s.ctx.Done():
	}
	fmt.Fprintf(c, "%s waited %v\n", s.Name, wait)
}

// events streams: ?every=1s&count=10, without count until the client leaves.
func (s *service) events(c *fasthttp.RequestCtx) {
	every := between(c, "every", time.Second, time.Millisecond, time.Minute)
	count := c.QueryArgs().GetUintOrZero("count")
	c.SetContentType("text/event-stream")
	c.Response.Header.Set("Cache-Control", "no-store")
	c.SetBodyStreamWriter(func(w *bufio.Writer) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 1; ; i++ {
			fmt.Fprintf(w, "id: %d\ndata: %s %s\n\n", i, s.Name, s.Alloc)
			if w.Flush() != nil || i == count {
				return
			}
			select {
			case <-tick.C:
			case <-s.ctx.Done():
				return
			}
		}
	})
}

// webSocket echoes messages.
func (s *service) webSocket(c *fasthttp.RequestCtx) {
	err := s.upgrader.Upgrade(c, func(conn *websocket.Conn) {
		defer conn.Close()
		stop := context.AfterFunc(s.ctx, func() {
			conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "stopping"), time.Now().Add(time.Second))
			conn.Close()
		})
		defer stop()
		conn.SetReadLimit(maxBody)
		for {
			kind, message, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
	if err != nil {
		s.Logger.Debug("no websocket", "error", err)
	}
}

// status answers with the status that the path names.
func (s *service) status(c *fasthttp.RequestCtx, text string) {
	status, err := strconv.Atoi(text)
	if err != nil || status < 200 || status > 599 {
		c.Error("want /status/200 to /status/599\n", fasthttp.StatusBadRequest)
		return
	}
	c.SetStatusCode(status)
	fmt.Fprintf(c, "%s answers %d\n", s.Name, status)
}

// bytes answers with that many bytes.
func (s *service) bytes(c *fasthttp.RequestCtx, text string) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<30 {
		c.Error("want /bytes/0 to /bytes/1073741824\n", fasthttp.StatusBadRequest)
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

// between reads a duration parameter within bounds.
func between(c *fasthttp.RequestCtx, name string, otherwise, low, high time.Duration) time.Duration {
	d, err := time.ParseDuration(string(c.QueryArgs().Peek(name)))
	if err != nil {
		return otherwise
	}
	return min(max(d, low), high)
}

package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"serai/proxy"
	"serai/proxy/wire"
)

// conn is one client connection. Between requests it holds no more than its
// socket: what a request needs comes from a pool with its first byte.
type conn struct {
	server      *Server
	wire        wire.Conn
	peer, local netip.AddrPort
	secure      bool
	serverName  string // that the TLS client asked for
	counted     bool   // by the limit of each client
	shard       int

	// What the goroutine that serves it notes.
	now     time.Time // the last request's end
	settled bool      // it has been silent for a while
	moves   bool      // it is to be served by a new goroutine when it stays silent
	left    *session  // of a request that Handle has left to serve

	mu      sync.Mutex
	session *session // nil while idle
	served  bool     // it has brought a request
	drained bool     // idle connections are to close
	gone    bool     // it has been cut
	tunnel  func()   // ends the tunnel, nil when there is none
}

// session is what a connection needs while it has a request.
type session struct {
	proxy.Exchange
	body   requestBody
	answer answer
}

func newSession() *session {
	s := &session{}
	s.Exchange.Body = &s.body
	s.Exchange.Responder = &s.answer
	return s
}

// run serves the connection to its end.
func (c *conn) run() {
	if !c.serve() {
		c.server.remove(c)
	}
}

// settles is how long a connection is silent before it moves to a new goroutine.
// The stack of the old one has grown with a request, and would be kept for as
// long as the connection is idle.
const settles = time.Second

// serve reads and answers requests until the connection ends, or has moved to
// another goroutine.
func (c *conn) serve() (moved bool) {
	for c.now = time.Now(); c.await(); {
		err := c.wire.Serve(c, c.server.options.HeadTimeout)
		switch {
		case err == nil:
		case c.wire.Interrupted() && c.crossed():
			c.left = c.begin()
		case errors.Is(err, os.ErrDeadlineExceeded) && c.moves:
			c.settled = true
			go c.run()
			return true
		}
		if c.left == nil {
			return false
		}
		s := c.left
		c.left = nil
		again := c.serveOne(s)
		c.end(s)
		if !again {
			return false
		}
	}
	return false
}

// crossed reports whether a request had come when a drain ended the wait for
// it.
func (c *conn) crossed() bool {
	c.wire.Resume()
	if c.wire.Plain() {
		return c.wire.FillReady()
	}
	c.wire.SetReadDeadline(time.Now().Add(time.Millisecond)) // for what is here
	return c.wire.Fill() == nil
}

// await sets how long the connection may be silent from now on, and reports
// whether it may at all.
func (c *conn) await() bool {
	wait := c.patience()
	c.moves = !c.settled && wait > settles
	if c.moves {
		wait = settles
	}
	if wait > 0 {
		c.wire.ReadWithin(c.now, wait)
	}
	return wait > 0
}

// Handle answers the request that has come when it is no more than a head, and
// reports whether the connection waits for another. What needs more of the
// connection is left to serve.
func (c *conn) Handle() (more bool) {
	c.settled = false
	s := c.begin()
	n, err := s.Head.ParseRequest(c.wire.Buffered(), c.server.options.Limits)
	if err != nil || s.Head.Framing != wire.NoBody || s.Head.Upgrade != nil {
		c.left = s
		return false
	}
	more = c.answer(s, n)
	c.end(s)
	return more && c.await()
}

// handshake makes the TLS handshake, within the time that a head may take.
func (c *conn) handshake(t *tls.Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), c.server.options.HeadTimeout)
	defer cancel()
	err := t.HandshakeContext(ctx)
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
		io.WriteString(plain.Conn, "HTTP/1.1 400 Bad Request\r\nX-Serai-Reason: plain-http\r\nContent-Type: text/plain\r\n"+
			"Connection: close\r\nContent-Length: 52\r\n\r\n400 this port speaks TLS: use https:// (plain-http)\n")
	}
	if err != nil {
		c.server.options.Handshaken(nil, err)
		c.server.proxy.Refused("tls-handshake")
		return false
	}
	state := t.ConnectionState()
	c.server.options.Handshaken(&state, nil)
	c.serverName = state.ServerName
	// A CA that validates a name asks for nothing else (RFC 8737).
	return state.NegotiatedProtocol == "" || state.NegotiatedProtocol == "http/1.1"
}

// looksLikeHTTP reports whether a first record is the start of a request line.
func looksLikeHTTP(record [5]byte) bool {
	switch string(record[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		return true
	}
	return false
}

// firstRequest is how long a connection that has just been accepted may wait
// for its request in a drain: its client cannot know.
const firstRequest = time.Second

// patience returns how long the connection may wait for another request, 0 for
// not at all.
func (c *conn) patience() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.drained && (c.served || c.settled):
		return 0
	case c.drained:
		return firstRequest
	case c.settled:
		return max(c.server.options.KeepAlive-settles, 1)
	}
	return c.server.options.KeepAlive
}

// drain makes the connection end with the request under way, at once when
// there is none and was one.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drained = true
	switch {
	case c.session != nil:
	case c.served:
		c.wire.Interrupt()
	default:
		c.wire.SetReadDeadline(time.Now().Add(firstRequest))
	}
}

// cut ends the connection whatever is under way: a tunnel by closing both
// ways, all else by closing the socket and ending the wait for an instance.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tunnel != nil {
		c.tunnel()
		return
	}
	c.gone = true
	if c.session != nil {
		c.session.Cancel()
	}
	// Closing waits for a request that is being answered: not for long, for it
	// gets nothing from its instance any more.
	go c.wire.Close()
}

// begin takes a session for the bytes that have come.
func (c *conn) begin() *session {
	s := c.server.exchanges.Get().(*session)
	s.Reset()
	s.Peer, s.Local, s.Secure, s.ServerName, s.Shard = c.peer, c.local, c.secure, c.serverName, c.shard
	s.answer.reset(c)
	c.mu.Lock()
	c.session, c.served = s, true
	switch {
	case c.gone:
		s.Cancel()
	case c.drained && c.wire.Interrupted():
		c.wire.Resume() // it crossed the drain: its answer comes whole
	}
	c.mu.Unlock()
	return s
}

func (c *conn) end(s *session) {
	c.now = s.Now
	c.mu.Lock()
	c.session = nil
	c.mu.Unlock()
	s.answer.release()
	s.body.release()
	c.server.exchanges.Put(s)
}

// check ends the exchange under way when it waits and its client has left, or
// ends its attempt when the instance cannot be reached any more.
func (c *conn) check(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return
	}
	if since := c.session.WaitingSince(); since.IsZero() || now.Sub(since) <= patience {
		return
	}
	if c.wire.PeerGone() {
		c.session.Cancel()
	} else {
		c.session.CheckPath()
	}
}

// serveOne reads and answers one request, and reports whether the connection
// can carry another.
func (c *conn) serveOne(s *session) (again bool) {
	n, err := c.readHead(s)
	if err != nil {
		c.refuse(s, err)
		return false
	}
	return c.answer(s, n)
}

// answer has the request whose head is the first n unread bytes answered, and
// reports whether the connection can carry another.
func (c *conn) answer(s *session, n int) (again bool) {
	c.wire.Discard(n)
	h := &s.Head
	s.Start = time.Now()
	s.Now = s.Start
	if s.body.reset(c, h) {
		s.Now = time.Now()
	}
	s.answer.begin(h)
	c.server.proxy.Serve(&s.Exchange)
	if s.answer.failed || !s.answer.ended {
		return false
	}
	if !s.body.Done() && !c.discardBody(s) {
		return false
	}
	return !s.answer.close
}

// readHead reads until the head is complete, and returns its length.
func (c *conn) readHead(s *session) (int, error) {
	o := &c.server.options
	timed := false
	for {
		n, err := s.Head.ParseRequest(c.wire.Buffered(), o.Limits)
		if err != wire.ErrIncomplete {
			return n, err
		}
		if !timed {
			timed = true
			c.wire.ReadWithin(time.Now(), o.HeadTimeout)
		}
		if err := c.wire.FillLine(); err != nil {
			return 0, err
		}
	}
}

// refuse answers what is no request, and closes: nobody can tell where the
// next one would begin.
func (c *conn) refuse(s *session, err error) {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, os.ErrDeadlineExceeded):
		e = errHeadTimeout
	case err == wire.ErrBufferFull:
		e = wire.ErrHeadLarge
	default:
		return // the client left in the middle of a head
	}
	c.server.proxy.Refused(e.Code)
	s.Now = time.Now()
	s.answer.refuse(e)
	c.linger()
}

var errHeadTimeout = &wire.Error{Status: 408, Code: "head-timeout", Detail: "the request head did not come in time"}

// Bounds for a request body that nobody wants.
const (
	maxDiscard  = 256 << 10
	discardTime = 2 * time.Second
)

// discardBody reads the rest of a request's body, within bounds, so that the
// connection can carry another request. It reports whether it came to the end;
// otherwise the connection is closed so that the client still gets its answer.
func (c *conn) discardBody(s *session) bool {
	// A client that waits for a 100 sends nothing after a final answer.
	if s.answer.close || s.body.interrupted || s.Head.Continue && s.BytesIn == 0 {
		c.linger()
		return false
	}
	c.wire.ReadWithin(time.Now(), discardTime)
	for n := 0; n < maxDiscard; {
		data, err := s.body.Body.Next()
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		n += len(data)
	}
	c.linger()
	return false
}

// linger closes the sending side and reads for a moment: closing with unread
// bytes would reset the connection, and the client lose the answer.
func (c *conn) linger() {
	if w, ok := c.wire.Conn.(interface{ CloseWrite() error }); !ok || w.CloseWrite() != nil {
		return
	}
	c.wire.Resume()
	c.wire.ReadWithin(time.Now(), discardTime)
	b := wire.GetSmall()
	defer wire.Put(b)
	for n := 0; n < maxDiscard; {
		got, err := c.wire.Read(b)
		if err != nil {
			return
		}
		n += got
	}
}

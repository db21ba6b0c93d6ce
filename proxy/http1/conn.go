package http1

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"serai/proxy"
	"serai/wire"
	"serai/wire/socket"
)

// conn is one client connection. Between requests it holds no more than its
// socket: what a request needs comes from a pool with its first byte.
type conn struct {
	server      *Server
	wire        socket.Conn
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
	ending  ending    // how it is to be closed

	mu      sync.Mutex
	session *session // nil while idle
	served  bool     // it has brought a request
	drained bool     // idle connections are to close
	ended   bool     // no request is read any more
	gone    bool     // it has been cut
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
	defer c.contain()
	if !c.serve() {
		c.finish()
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
	if !c.settled { // else it has been silent since the last request
		c.now = time.Now()
	}
	for c.await() {
		err := c.wire.Serve(c, c.server.options.HeadTimeout)
		switch {
		case err == nil:
		case c.wire.Interrupted() && c.crossed():
			c.left = c.begin()
		case errors.Is(err, os.ErrDeadlineExceeded) && c.moves:
			c.settled = true
			go c.run()
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			c.ending = endAtOnce // the client has left
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
	// The move may be late by as long as settles, but not the end of the wait.
	c.moves = !c.settled && wait > 2*settles
	switch {
	case c.moves:
		c.wire.ReadAbout(c.now, settles)
	case wait > 0:
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
	case c.session != nil, c.ended:
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
	if c.session != nil && c.session.EndTunnel() {
		return
	}
	c.gone = true
	// Closing waits for a request that is being answered: not for long, for it
	// gets nothing from its instance any more.
	if c.session != nil {
		c.session.Cancel()
		go c.wire.Abort()
	} else {
		go c.wire.Close()
	}
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
	gone := c.wire.PeerGone
	if c.session.Sized() {
		// A client that has only closed its sending side gets the rest.
		gone = c.wire.Dead
	}
	if gone() {
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
	s.body.reset(c, h)
	s.answer.begin(&s.Exchange)
	c.server.proxy.Serve(&s.Exchange)
	switch {
	case s.answer.failed || !s.answer.ended:
		c.ending = endAtOnce
		if s.answer.started && (s.answer.endsIt || h.Minor == 0) {
			c.ending = endCut
		}
		return false
	case s.answer.close:
		if !s.body.Done() || s.answer.endsIt && c.secure {
			c.ending = endExpecting
		}
		return false
	}
	if s.body.Done() {
		return true
	}
	again = s.body.discard()
	s.Now = time.Now()
	return again
}

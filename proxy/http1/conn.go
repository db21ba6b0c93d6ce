package http1

import (
	"errors"
	"os"
	"sync"
	"time"

	"serai/front"
	"serai/proxy"
	"serai/wire"
	"serai/wire/socket"
)

// conn is one client connection. Between requests it holds little more than its socket:
// the first byte of a request takes the rest from a pool.
//
// Its state is one of these, guarded by mu:
//
//	idle     session is nil, ended is false: it waits for the first byte of a request
//	busy     session is set: a request is read and answered
//	ended    ended is true: nothing is read any more
//
// Only the goroutine that serves the connection changes the state: begin from idle to
// busy, end back to idle, Serve from idle to ended, and contain, after a panic, from any to
// ended. A parked connection stays idle between two calls of Serve. Other goroutines set
// one of two marks, and interrupt the goroutine if it waits:
//
//	         Drain (drained)                           Cut (cut)
//	idle     ends at once; before its first request,   its socket is closed
//	         within front.OpenTime
//	busy     ends after this request                   the request is cancelled, or its
//	                                                   tunnel ended; then it ends
//	ended    nothing                                   its socket is closed
type conn struct {
	engine *Engine
	front  *front.Conn
	wire   *socket.Conn // of front

	// Used only by the goroutine that serves the connection.
	now      time.Time    // end of the last request
	quiet    bool         // silent for longer than parkAfter
	parks    bool         // it is parked if it stays silent
	pending  *session     // of a request that Handle leaves to serve
	ending   front.Ending // how to close it
	answered bool         // a request was answered
	last     bool         // no request is read after this one, since it was drained before

	mu      sync.Mutex
	session *session // nil while idle
	served  bool     // it has had a request
	drained bool     // it must not wait for another request
	// recalled says that it was drained to make room: a head that had begun by then gets
	// little time.
	recalled bool
	ended    bool // nothing is read any more
	cut      bool // it was cut off
	cutFor   proxy.Reason
}

var (
	_ front.Session  = (*conn)(nil)
	_ front.Reusable = (*conn)(nil)
)

// Serve serves the connection until it ends or is parked.
func (c *conn) Serve() (end front.Ending) {
	defer c.contain(&end)
	if c.serve() {
		return front.Parked
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cut && c.ending != front.Reset && c.ending != front.PriorKnowledge {
		return front.AtOnce
	}
	return c.ending
}

// parkAfter is how long a connection is silent before it is parked.
const parkAfter = time.Second

// serve reads and answers requests until the connection ends, or should be parked.
func (c *conn) serve() (parked bool) {
	if !c.quiet { // otherwise it is still silent since the last request
		c.now = time.Now()
	}
	c.mu.Lock()
	wait := c.keepAlive()
	c.mu.Unlock()
	for c.expectRequest(wait) {
		err := c.serveWire()
		switch {
		case err == nil:
		case c.wire.Interrupted() && c.requestArrived():
			c.pending = c.begin()
		case errors.Is(err, os.ErrDeadlineExceeded) && c.parks:
			c.quiet = true
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			c.ending = front.AtOnce // the client has left
		}
		if c.pending == nil {
			return false
		}
		s := c.pending
		c.pending = nil
		again := c.serveOne(s)
		wait = c.end(s)
		if !again {
			return false
		}
	}
	return false
}

// serveWire has Handle answer requests within one wait, for as long as each comes whole.
func (c *conn) serveWire() error {
	if c.quiet {
		if err := c.wire.Await(); err != nil {
			return err
		}
	}
	return c.wire.Serve(c, c.engine.options.HeadTimeout)
}

// requestArrived reports whether a request had arrived when a drain interrupted the
// wait.
func (c *conn) requestArrived() bool {
	c.wire.Resume()
	if c.wire.Plain() {
		return c.wire.FillReady()
	}
	c.wire.SetReadDeadline(time.Now().Add(time.Millisecond)) // only to read what is here
	return c.wire.Fill() == nil
}

// expectRequest sets the deadline for the next request, and reports whether the
// connection may wait for one at all.
func (c *conn) expectRequest(wait time.Duration) bool {
	// Parking may be late by as much as parkAfter, but not the end of the wait.
	c.parks = !c.quiet && wait > 2*parkAfter
	switch {
	case c.parks:
		c.wire.ReadAbout(c.now, parkAfter)
	case wait > 0:
		c.wire.ReadWithin(c.now, wait)
	}
	return wait > 0
}

// Handle answers a request that has come with its whole body, and reports whether the
// connection waits for another one. Requests that need to wait for more are left to
// serve.
func (c *conn) Handle() (more bool) {
	c.quiet = false
	s := c.begin()
	n, err := s.Head.ParseRequest(c.wire.Buffered(), c.engine.options.Limits)
	if err != nil || !s.memoryUse.Begun() {
		c.pending = s
		return false
	}
	c.receive(s, n)
	if s.Head.Upgrade != nil || !s.body.here() {
		s.received = true
		c.pending = s
		return false
	}
	more = c.answer(s)
	wait := c.end(s)
	return more && c.expectRequest(wait)
}

// keepAlive returns how long the connection may wait for another request, 0 if it must
// end. c.mu is held.
func (c *conn) keepAlive() time.Duration {
	switch {
	case c.drained && (c.served || c.quiet):
		return 0
	case c.drained:
		return front.OpenTime
	}
	return c.engine.options.KeepAlive
}

// serveOne reads and answers one request, and reports whether the connection can carry
// another one.
func (c *conn) serveOne(s *session) (again bool) {
	if s.received {
		s.received = false
		return c.answer(s)
	}
	n, err := c.readHead(s)
	if err == wire.ErrVersion && c.beginsHTTP2(s) {
		c.ending = front.PriorKnowledge
		return false
	}
	if err != nil {
		c.refuse(s, err)
		return false
	}
	c.receive(s, n)
	return c.answer(s)
}

// receive begins the request whose head is the first n unread bytes.
func (c *conn) receive(s *session, n int) {
	c.wire.Discard(n)
	s.Start = time.Now()
	s.Now = s.Start
	s.body.reset(c, &s.Head)
}

// answer passes the request to the proxy, and reports whether the connection can carry
// another one.
func (c *conn) answer(s *session) (again bool) {
	h := &s.Head
	s.answer.begin(&s.Exchange)
	c.answered = true
	c.engine.proxy.Serve(&s.Exchange)
	switch {
	case s.answer.failed || !s.answer.ended:
		c.ending = front.AtOnce
		if s.answer.started && (s.answer.closeEndsBody || h.Minor == 0) {
			c.ending = front.Reset
		}
		return false
	case s.answer.close:
		if !s.body.Done() || s.answer.closeEndsBody && c.front.Secure {
			c.ending = front.Lingering
		}
		return false
	}
	if s.body.Done() && !s.body.interrupted.Load() {
		return true
	}
	again = s.body.discard()
	s.Now = time.Now()
	return again
}

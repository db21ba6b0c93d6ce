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

// conn is one client connection. Between requests it holds no more than its
// socket: what a request needs comes from a pool with its first byte.
//
// Its state is one of these, guarded by mu:
//
//	idle     session is nil, ended is false: it waits for the first bytes of a request
//	busy     session is set: a request is read and answered
//	ended    ended is true: nothing is read any more
//
// Only the goroutine that serves it moves it: begin from idle to busy, end back to
// idle, Serve from idle to ended, and contain, after a panic, from any to ended. A
// connection that is parked stays idle, between two calls of Serve. Other goroutines
// set one of two marks and interrupt what waits:
//
//	         Drain (drained)                           Cut (cut)
//	idle     ends at once; one that has not brought    its socket is closed
//	         a request yet, within front.OpenTime
//	busy     ends after this request                   the request is cancelled, a tunnel
//	                                                   ended on both sides; then it ends
//	ended    nothing                                   its socket is closed
type conn struct {
	engine *Engine
	front  *front.Conn
	wire   *socket.Conn // of front

	// What the goroutine that serves it notes.
	now     time.Time    // the last request's end
	settled bool         // it has been silent for a while
	moves   bool         // it is to be parked when it stays silent
	left    *session     // of a request that Handle has left to serve
	ending  front.Ending // how it is to be closed
	asked   bool         // a request was answered

	mu      sync.Mutex
	session *session // nil while idle
	served  bool     // it has brought a request
	drained bool     // idle connections are to close
	ended   bool     // no request is read any more
	cut     bool     // it has been cut
}

var (
	_ front.Session  = (*conn)(nil)
	_ front.Reusable = (*conn)(nil)
)

// Reusable reports whether nobody closes the connection from another goroutine.
func (c *conn) Reusable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && !c.cut
}

// session is what a connection needs while it has a request.
type session struct {
	proxy.Exchange
	body      requestBody
	answer    answer
	memoryUse proxy.MemoryUse
	parsed    int // the length of the head that Handle has left to serve, 0 for none
}

func newSession() *session {
	s := &session{}
	s.Exchange.Body = &s.body
	s.Exchange.Responder = &s.answer
	return s
}

// Serve serves the connection to its end, or until it is parked.
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

// settles is how long a connection is silent before it is parked.
const settles = time.Second

// serve reads and answers requests until the connection ends, or is to be
// parked.
func (c *conn) serve() (parked bool) {
	if !c.settled { // else it has been silent since the last request
		c.now = time.Now()
	}
	c.mu.Lock()
	wait := c.keepAlive()
	c.mu.Unlock()
	for c.await(wait) {
		err := c.serveWire()
		switch {
		case err == nil:
		case c.wire.Interrupted() && c.crossed():
			c.left = c.begin()
		case errors.Is(err, os.ErrDeadlineExceeded) && c.moves:
			c.settled = true
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			c.ending = front.AtOnce // the client has left
		}
		if c.left == nil {
			return false
		}
		s := c.left
		c.left = nil
		again := c.serveOne(s)
		wait = c.end(s)
		if !again {
			return false
		}
	}
	return false
}

// serveWire takes requests for as long as they are no more than heads.
func (c *conn) serveWire() error {
	if c.settled {
		if err := c.wire.Await(); err != nil {
			return err
		}
	}
	return c.wire.Serve(c, c.engine.options.HeadTimeout)
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

// await has the connection be silent for as long as wait from now on, and reports
// whether it may at all.
func (c *conn) await(wait time.Duration) bool {
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
	n, err := s.Head.ParseRequest(c.wire.Buffered(), c.engine.options.Limits)
	whole := err == nil && s.memoryUse.Begun()
	if !whole || s.Head.Framing != wire.NoBody || s.Head.Upgrade != nil {
		if whole {
			s.parsed = n
		}
		c.left = s
		return false
	}
	more = c.answer(s, n)
	wait := c.end(s)
	return more && c.await(wait)
}

// keepAlive returns how long the connection may wait for another request, 0 for
// not at all. c.mu is held.
func (c *conn) keepAlive() time.Duration {
	switch {
	case c.drained && (c.served || c.settled):
		return 0
	case c.drained:
		return front.OpenTime
	}
	return c.engine.options.KeepAlive
}

// Drain makes the connection end with the request under way, at once when
// there is none and was one.
func (c *conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drain()
}

// drain is Drain. c.mu is held.
func (c *conn) drain() {
	c.drained = true
	switch {
	case c.session != nil, c.ended:
	case c.served:
		c.wire.Interrupt()
	default:
		c.wire.SetReadDeadline(time.Now().Add(front.OpenTime))
	}
}

// Cut ends the connection whatever is under way: a tunnel by closing both
// ways, all else by closing the socket and ending the wait for an instance.
func (c *conn) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff()
}

// cutOff is Cut. c.mu is held.
func (c *conn) cutOff() {
	if c.session != nil && c.session.EndTunnel() {
		return
	}
	c.cut = true
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
	s := c.engine.exchanges.Get().(*session)
	s.Reset()
	p := &c.front.Peer
	s.Peer, s.PeerText, s.Local = p.Remote, p.RemoteText, p.Local
	s.Secure, s.TLSVersion, s.ServerName, s.Shard = p.Secure, p.TLSVersion, p.ServerName, p.Shard
	s.answer.reset(c)
	s.Memory = p.Memory
	s.memoryUse.Begin(p.Memory)
	c.mu.Lock()
	c.session, c.served = s, true
	switch {
	case c.cut:
		s.Cancel()
	case c.drained && c.wire.Interrupted():
		c.wire.Resume() // it crossed the drain: its answer comes whole
	}
	c.mu.Unlock()
	return s
}

// end ends the request, and returns how long the connection may wait for another.
func (c *conn) end(s *session) (wait time.Duration) {
	c.now = s.Now
	c.mu.Lock()
	c.session = nil
	wait = c.keepAlive()
	c.mu.Unlock()
	s.memoryUse.End(c.front.Memory)
	s.answer.release()
	s.body.release()
	c.engine.exchanges.Put(s)
	return wait
}

// A fast request pays nothing for the look at clients and paths: only exchanges
// that have been waiting for longer than this are looked at.
const watchAfter = 100 * time.Millisecond

// Check ends the exchange under way when it waits and its client has left, or
// ends its attempt when the instance cannot be reached any more.
func (c *conn) Check(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makeRoom(now)
	if c.session == nil {
		return
	}
	if since := c.session.WaitingSince(); since.IsZero() || now.Sub(since) <= watchAfter {
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
	if n := s.parsed; n > 0 {
		s.parsed = 0
		return c.answer(s, n)
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
	c.asked = true
	c.engine.proxy.Serve(&s.Exchange)
	switch {
	case s.answer.failed || !s.answer.ended:
		c.ending = front.AtOnce
		if s.answer.started && (s.answer.endsIt || h.Minor == 0) {
			c.ending = front.Reset
		}
		return false
	case s.answer.close:
		if !s.body.Done() || s.answer.endsIt && c.front.Secure {
			c.ending = front.Lingering
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

// makeRoom has the connection give back what it holds, where others need it more. c.mu
// is held.
func (c *conn) makeRoom(now time.Time) {
	by, s := c.front.Memory, c.session
	if s == nil {
		if !c.drained && !c.ended && c.front.MakesRoom(c.front.Cost()) {
			c.drain()
		}
		return
	}
	if s.memoryUse.MakeRoom(by, c.wire.Reserved() > 0, now) {
		c.wire.InterruptReads()
	}
	if !c.cut && s.memoryUse.Recall(by, c.front.Cost()+c.wire.Reserved(), now) {
		c.cutOff()
	}
}

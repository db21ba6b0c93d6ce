package front

import (
	"container/list"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"serai/proxy"
)

// state is what a connection is at. It only moves on: accept makes it opening,
// open makes it serving, and end makes it closing.
type state uint8

const (
	// opening: its PROXY header is read, or its handshake made.
	opening state = iota
	// serving: an engine has it.
	serving
	// closing: what was written is on its way, and what still comes is discarded.
	closing
)

// conn is what the server keeps of a Conn.
type conn struct {
	server    *Server
	named     bool          // its client is known
	own       counted       // for the server's limits
	shared    counted       // for those of several
	handshake *list.Element // of handshakes
	text      [39]byte      // of RemoteText: the longest is eight groups of four digits
	watched   bool          // watch may hold it; guarded by the server's mu

	mu      sync.Mutex
	state   state
	session Session // while it is serving
	drained bool
	cutOff  bool
}

// open gives the connection to an engine.
func (c *Conn) open(e Engine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.state = e.Open(c), serving
	if c.drained {
		c.session.Drain()
	}
	if c.cutOff {
		c.session.Cut()
	}
}

// run serves the connection to its end.
func (c *Conn) run() {
	defer c.contain()
	switch how := c.session.Serve(); how {
	case Parked:
		go c.run()
	case PriorKnowledge:
		c.open(c.server.options.Engines[HTTP2])
		c.run()
	default:
		c.end(how)
	}
}

// OpenTime is how long a connection that has just been accepted may take to bring
// its request in a drain: its client cannot know.
const OpenTime = time.Second

// drain makes the connection end with what is under way.
func (c *Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drained = true
	switch c.state {
	case opening:
		c.Socket.SetReadDeadline(time.Now().Add(OpenTime))
	case serving:
		c.session.Drain()
	}
}

// cut ends the connection whatever is under way.
func (c *Conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff = true
	if c.state == serving {
		c.session.Cut()
		return
	}
	go c.Socket.Close() // which may have to wait
}

// check has the session end what waits in vain.
func (c *Conn) check(now time.Time) {
	c.mu.Lock()
	s := c.session
	serves := c.state == serving
	c.mu.Unlock()
	if serves {
		s.Check(now)
	}
}

// contain is deferred by every goroutine that has a connection: a panic while it
// is accepted ends that connection and no other. Engines contain their own, of
// which they know more.
func (c *Conn) contain() {
	cause := recover()
	if cause == nil {
		return
	}
	o := &c.server.options
	o.Logger.Error("accepting a connection made serai panic; it was cut, the others go on: please report this",
		"cause", fmt.Sprint(cause), "client", c.Remote.Addr(), "stack", string(debug.Stack()))
	o.Count(proxy.ReasonPanic)
	c.server.handshakes.end(c)
	c.end(Reset)
}

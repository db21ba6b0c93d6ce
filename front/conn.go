package front

import (
	"container/list"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"serai/proxy"
)

// state is the state of a connection. It only moves forward: accept makes it opening,
// open serving, and end closing.
type state uint8

const (
	// opening: the PROXY header is read, or the handshake made.
	opening state = iota
	// serving: an engine serves it.
	serving
	// closing: the last bytes are being sent, and what still comes is discarded.
	closing
)

// conn is the server's part of a Conn.
type conn struct {
	server      *Server
	clientKnown bool          // false until a PROXY header names the client
	own         counted       // for the server's limits
	shared      counted       // for the limits of several servers
	handshake   *list.Element // its element of Server.handshakes
	text        [39]byte      // memory of RemoteText: the longest address is eight groups of four digits
	portText    [5]byte       // memory of PortText
	watched     bool          // watch may hold it; guarded by the server's mu

	mu      sync.Mutex
	state   state
	session Session // while it is serving
	drained bool
	cutOff  bool
}

// open passes the connection to an engine.
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

// OpenTime is how long, in a drain, a new connection may take to send its first
// request: its client could not know about the drain.
const OpenTime = time.Second

// drain makes the connection end after the current requests.
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

// cut ends the connection at once.
func (c *Conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff = true
	if c.state == serving {
		c.session.Cut()
		return
	}
	go c.Socket.Close() // Close may have to wait
}

// check calls the session's Check, or ends a slow handshake if others need its place.
func (c *Conn) check(now time.Time) {
	c.mu.Lock()
	s, state := c.session, c.state
	c.mu.Unlock()
	switch state {
	case serving:
		s.Check(now)
	case opening:
		c.server.handshakes.makeRoom(c, now)
	}
}

// contain is deferred by every goroutine that has a connection: a panic while it is
// accepted ends this connection and no other. Engines contain their own panics, since
// they know more about them.
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

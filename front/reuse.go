package front

import "net"

// Reusable is a Session that can serve another connection once Serve has ended.
type Reusable interface {
	// Reusable reports whether it can. Then no goroutine holds the session, its Conn
	// or its Socket any more.
	Reusable() bool
}

// Before returns the session of the connection that had this Conn before and is over,
// for the engine to use again; nil when there was none.
func (c *Conn) Before() Session { return c.session }

// newConn returns a Conn for nc, one that has been used before if there is one.
func (s *Server) newConn(nc net.Conn) *Conn {
	c, again := s.ended.Get().(*Conn)
	if !again {
		c = &Conn{conn: conn{server: s}}
	}
	c.Peer = Peer{}
	c.Socket.Init(nc)
	c.named, c.state = false, opening
	return c
}

// recycle keeps c, which is over, for another connection: with many short ones the
// collector would run for their Conns. Not where somebody may still hold it: after a
// panic, or when another goroutine was to drain or cut it.
func (s *Server) recycle(c *Conn, how Ending) {
	if r, ok := c.session.(Reusable); !ok || how == Reset || !r.Reusable() {
		return
	}
	c.mu.Lock()
	told := c.drained || c.cutOff
	c.mu.Unlock()
	if !told {
		c.Socket.Init(nil) // or it would keep what crypto/tls has of the connection
		s.ended.Put(c)
	}
}

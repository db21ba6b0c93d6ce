package front

import "net"

// Reusable is a Session that can serve another connection after Serve has ended.
type Reusable interface {
	// Reusable reports whether it can: no goroutine holds the session, its Conn or its
	// Socket any more.
	Reusable() bool
}

// LastSession returns the session of the connection that used this Conn before, which
// the engine may reuse; nil when there was none.
func (c *Conn) LastSession() Session { return c.session }

// newConn returns a Conn for nc, if possible one that was used before.
func (s *Server) newConn(nc net.Conn) *Conn {
	c, again := s.ended.Get().(*Conn)
	if !again {
		c = &Conn{conn: conn{server: s}}
	}
	c.Peer = Peer{}
	c.Socket.Init(nc)
	c.Socket.FreeWhenFast() // as Listen bounds it
	c.clientKnown, c.state = false, opening
	return c
}

// recycle keeps c, which is over, for another connection: with many short connections
// the garbage collector would run for their Conns. It does not keep a Conn that another
// goroutine may still hold: after a panic, or when it was drained or cut.
func (s *Server) recycle(c *Conn, how Ending) {
	if r, ok := c.session.(Reusable); !ok || how == Reset || !r.Reusable() {
		return
	}
	c.mu.Lock()
	held := c.drained || c.cutOff
	c.mu.Unlock()
	if !held {
		c.Socket.Init(nil) // releases the memory that crypto/tls has for the connection
		s.ended.Put(c)
	}
}

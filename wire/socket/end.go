package socket

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// Lingering bounds how long a connection that serai closes first discards what its peer
// still sends. When bytes arrive for a closed socket, the kernel answers with a reset,
// and the peer loses what its program has not read of the last answer (RFC 9112 section
// 9.6).
type Lingering struct {
	Bytes int // to discard
	// Quiet is how long it goes on without a new acknowledgement from the peer. Longest
	// bounds it in any case.
	Quiet, Longest time.Duration
	// Expected says that the peer is still sending, so that the connection is not
	// closed at once even if the peer has acknowledged everything.
	Expected bool
}

// Finish closes the connection so that the peer gets all that was written. No other
// goroutine may read from it.
func (c *Conn) Finish(l Lingering) {
	Put(c.buf)
	c.buf, c.r, c.w = nil, 0, 0
	socket, ok := innermost(c.Conn).(*net.TCPConn)
	raw := c.rawConn()
	if ok && raw != nil && (l.Expected || !settled(raw)) {
		if t, ok := c.Conn.(*tls.Conn); ok {
			t.CloseWrite() // close_notify; it has a deadline of its own
		}
		if socket.CloseWrite() == nil {
			linger(socket, raw, l)
		}
	}
	c.Close()
}

// Abort closes the connection so that the peer sees that it was cut: with a reset, and
// with TLS without close_notify. Other goroutines may use it.
func (c *Conn) Abort() {
	// Not *net.TCPConn: connections to instances are wrapped to count them.
	socket, ok := innermost(c.Conn).(interface {
		SetLinger(sec int) error
		Close() error
	})
	if !ok {
		c.Close()
		return
	}
	socket.SetLinger(0)
	c.releaseMemory()
	socket.Close()
}

// EndFree is End that frees the local port at once, if the peer has acknowledged all that it
// was sent, and nothing of its own is unread: with a reset. Who closes in order first keeps
// the port for a minute (TIME_WAIT, RFC 9293 section 3.3.2), and to one address there are
// 28,000 of them.
func (c *Conn) EndFree() {
	if raw := c.rawConn(); raw == nil || !settled(raw) {
		c.End()
		return
	}
	Put(c.buf)
	c.buf, c.r, c.w = nil, 0, 0
	c.Abort()
}

// rawConn returns the innermost socket for system calls, nil if there is none.
func (c *Conn) rawConn() syscall.RawConn {
	if raw := c.sys.rawConn(); raw != nil {
		return raw
	}
	if c.records != nil {
		if raw := c.records.sys.rawConn(); raw != nil {
			return raw
		}
	}
	sc, ok := innermost(c.Conn).(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// innermost returns the socket below TLS and below the PROXY protocol.
func innermost(c net.Conn) net.Conn {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = outer.NetConn()
	}
}

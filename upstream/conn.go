package upstream

import (
	"net"
	"time"

	"serai/proxy/wire"
)

// Conn is a connection to an Endpoint. It is either put back with Put or
// closed, once.
type Conn struct {
	wire.Conn
	Endpoint *Endpoint
	// Reused says that it has been idle.
	Reused bool
	// Idled is for how long, 0 for a new one.
	Idled time.Duration

	idleSince time.Time
}

func newConn(nc net.Conn, e *Endpoint) *Conn {
	c := &Conn{Endpoint: e}
	c.Init(nc)
	return c
}

// Get returns an idle connection, or nil. It must be looked at before anything
// is written to it, as wire.Conn.Request does: the instance may have closed it.
// An idle connection is never older than the registry's IdleTimeout: common
// servers close theirs after five seconds, and a close that crosses a request
// on its way costs a retry.
func (e *Endpoint) Get(now time.Time) *Conn {
	for {
		e.mu.Lock()
		n := len(e.idle)
		if n == 0 {
			e.mu.Unlock()
			return nil
		}
		c := e.idle[n-1]
		e.idle[n-1] = nil
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		if c.Idled = now.Sub(c.idleSince); c.Idled < e.registry.options.IdleTimeout {
			c.Reused = true
			return c
		}
		c.Close()
	}
}

// Put keeps c for the next request. It must hold no unread byte.
func (e *Endpoint) Put(c *Conn, now time.Time) {
	c.Release()
	c.idleSince = now
	e.mu.Lock()
	if e.State() == Leaving || len(e.idle) >= e.registry.options.MaxIdle {
		e.mu.Unlock()
		c.Close()
		return
	}
	e.idle = append(e.idle, c)
	e.mu.Unlock()
}

// closeIdle closes the connections that have been idle since before, the
// oldest of which are at the bottom of the stack.
func (e *Endpoint) closeIdle(before time.Time) {
	e.mu.Lock()
	n := 0
	for n < len(e.idle) && e.idle[n].idleSince.Before(before) {
		n++
	}
	old := append([]*Conn(nil), e.idle[:n]...)
	e.idle = append(e.idle[:0], e.idle[n:]...)
	clear(e.idle[len(e.idle):cap(e.idle)])
	e.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

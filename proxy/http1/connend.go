package http1

import (
	"time"

	"serai/front"
)

// Reusable reports whether nobody closes the connection from another goroutine.
func (c *conn) Reusable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && !c.cut
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

package http1

import (
	"time"

	"serai/front"
	"serai/proxy"
)

// Reusable reports whether no other goroutine closes the connection.
func (c *conn) Reusable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && !c.cut
}

// Drain makes the connection end after the current request. If there is none, it ends
// at once, or within front.OpenTime when it has had no request yet.
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

// Cut ends the connection at once: a tunnel properly in both directions; otherwise it
// closes the socket and ends the wait for an instance.
func (c *conn) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff(proxy.ReasonDrainTimeout)
}

// cutOff is Cut, for any reason. c.mu is held.
func (c *conn) cutOff(why proxy.Reason) {
	if c.session != nil && c.session.EndTunnel() {
		return
	}
	c.cut, c.cutFor = true, why
	// Close waits while a request is being answered, but not for long: the request gets
	// nothing more from its instance.
	if c.session != nil {
		c.session.CutOff(why)
		go c.wire.Abort()
	} else {
		go c.wire.Close()
	}
}

// watchAfter is how long an exchange must have been waiting before Check looks at its
// client and its instance, so that fast requests cost nothing.
const watchAfter = 100 * time.Millisecond

// Check ends the current exchange if it waits and its client has left, or ends its
// attempt if the instance cannot be reached any more.
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
		// A client that has only closed its sending side gets the rest of the answer.
		gone = c.wire.Dead
	}
	if gone() {
		c.session.Cancel()
	} else {
		c.session.CheckPath()
	}
}

// makeRoom makes the connection give memory, or its place, back if others need it more.
// c.mu is held.
func (c *conn) makeRoom(now time.Time) {
	by, s := c.front.Memory, c.session
	if s == nil {
		if !c.drained && !c.ended && c.front.MakesRoom(c.front.Cost()) {
			c.recalled = true
			c.drain()
		}
		return
	}
	if s.heading && !s.waitEnded && s.memoryUse.TooSlow(now) && (c.recalled || !c.drained && c.front.MakesPlace()) {
		c.drained, s.waitEnded = true, true
		c.wire.InterruptReads() // it is answered as a head that did not come in time
	}
	if s.memoryUse.MakeRoom(by, c.wire.Reserved() > 0, now) {
		c.wire.InterruptReads()
	}
	if !c.cut && s.memoryUse.Recall(by, c.front.Cost()+c.wire.Reserved()+c.engine.proxy.RequestCost(), now) {
		c.cutOff(proxy.ReasonOverloaded)
	}
}

package http2

import (
	"time"

	"serai/internal/memory"
	"serai/proxy"
	"serai/wire/http2"
)

// watchAfter is how long a request must have been waiting before Check looks at its
// instance.
const watchAfter = 100 * time.Millisecond

// Check ends what has waited for too long, or cannot succeed.
func (c *conn) Check(now time.Time) {
	o := &c.engine.options
	c.mu.Lock()
	silent := now.Sub(c.heard)
	look := silent > parkAfter && !c.looked
	c.looked = c.looked || look
	switch {
	case c.state >= ending:
	case !c.partial.IsZero() && now.Sub(c.partial) > c.headTime():
		c.mu.Unlock()
		c.engine.proxy.Count(proxy.ReasonHeadTimeout)
		c.fail(CauseHead, http2.EnhanceYourCalm, "a frame or head did not come in time")
		c.wire.InterruptReads()
		return
	case c.state == draining && now.Sub(c.drainAt) > parkAfter:
		c.drained()
	case c.state == serving && len(c.streams) == 0 && now.Sub(c.active) > o.KeepAlive:
		c.drain(now)
	}
	if len(c.streams) == 0 && c.idle > 0 && c.state < ending {
		c.endWorkers()
	}
	for _, s := range c.streams {
		s.wakeLate(now)
		s.makeRoom(now)
	}
	some := len(c.streams) > 0
	ends := c.makeRoom(now)
	c.mu.Unlock()
	if ends {
		c.fail(CauseMemory, http2.EnhanceYourCalm, "others need the memory")
		c.wire.InterruptReads()
		return
	}
	if look && c.wire.PeerGone() {
		c.wire.InterruptReads()
		c.clientLost()
		return
	}
	if some {
		c.checkStreams(now)
	}
}

// headTime is how long a head, or a frame other than DATA, may take. c.mu is held.
func (c *conn) headTime() time.Duration {
	o, held := &c.engine.options, memory.Connections
	if c.large {
		held = memory.Buffers
	}
	if c.front.Memory.RunsLow(held) {
		return min(o.HeadTimeout, proxy.LowMemoryTime)
	}
	return o.HeadTimeout
}

// makeRoom makes the connection give memory back if others need it more, and reports
// whether the connection must end at once. c.mu is held.
func (c *conn) makeRoom(now time.Time) (ends bool) {
	by, all := c.front.Memory, c.front.Cost()+connCost+c.reserved
	switch {
	case c.state >= ending:
		return false
	case len(c.streams) == 0:
		if c.state == serving && c.front.MakesRoom(all) {
			c.drain(now)
		}
		return false
	}
	for _, s := range c.streams {
		all += c.engine.proxy.RequestCost() + s.buffer + s.spilled
	}
	if !c.writes.IsZero() && now.Sub(c.writes) > proxy.LowMemoryTime {
		return by.Recall(all) // it waits for its client to read answers
	}
	return by.RecallAll(all)
}

// checkStreams ends the attempts whose network path is lost.
func (c *conn) checkStreams(now time.Time) {
	for _, s := range c.all() {
		s.do(c, func(x *proxy.Exchange) {
			if since := x.WaitingSince(); !since.IsZero() && now.Sub(since) > watchAfter {
				x.CheckPath()
			}
		})
	}
}

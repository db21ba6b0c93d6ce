package http2

import (
	"time"

	"serai/proxy"
	"serai/wire/http2"
)

// Drain tells the client to open no more streams on this connection, which then ends
// after its current streams (RFC 9113 section 6.8).
func (c *conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drain(time.Now())
}

// drain is Drain with c.mu held.
func (c *conn) drain(now time.Time) {
	if c.state != serving {
		return
	}
	c.state, c.drainAt = draining, now
	c.out = http2.AppendGoAway(c.out, http2.MaxStream, http2.NoError, "")
	c.out = http2.AppendPing(c.out, 0, drainPing)
	c.flushSoon()
}

// drainPing is the PING after the first GOAWAY. Its acknowledgement shows that the
// client has seen the GOAWAY.
var drainPing = [8]byte{'s', 'e', 'r', 'a', 'i', 'e', 'n', 'd'}

// drained tells the client which stream was the last one. c.mu is held.
func (c *conn) drained() {
	if c.state == draining {
		c.state = closing
		c.goAway(http2.NoError, "")
		c.flushSoon()
	}
	c.mayEnd()
}

// goAway sends a GOAWAY that names the last stream, never a higher one than before (RFC
// 9113 section 6.8). c.mu is held.
func (c *conn) goAway(code http2.Code, detail string) {
	if !c.toldLast {
		c.toldLast, c.last = true, c.lastID
	}
	c.out = http2.AppendGoAway(c.out, c.last, code, detail)
}

// mayEnd ends the connection if it is drained and has no streams. c.mu is held.
func (c *conn) mayEnd() {
	if c.state == closing && len(c.streams) == 0 {
		c.state = ending
		c.wire.InterruptReads()
	}
}

// Cut ends the connection at once.
func (c *conn) Cut() {
	c.mu.Lock()
	if c.state < ending {
		c.goAway(http2.NoError, "")
	}
	c.state = cut
	if !c.cutOff {
		c.cutOff = true
		c.wire.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	c.mu.Unlock()
	for _, s := range c.all() {
		s.do(c, func(x *proxy.Exchange) { x.EndTunnel() })
	}
	c.cutOffAll(proxy.ReasonDrainTimeout)
	c.cancelAll(false)
	c.wire.InterruptReads()
}

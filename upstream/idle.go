package upstream

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"serai/wire"
)

// searched bounds the idle connections that are looked at for one that was
// opened for the right name.
const searched = 128

// Get returns an idle connection that was opened for what a request for host
// needs, or nil. It must be looked at before anything is written to it, as
// socket.Conn.Request does: the instance may have closed it.
//
// It has never been idle for as long as the instance keeps such connections, as
// far as that is known, nor for longer than the registry's IdleTimeout: a close
// that crosses a request on its way costs a retry, or a request that must not be
// repeated.
func (e *Endpoint) Get(now time.Time, host []byte) *Conn {
	e.mu.Lock()
	limit := e.usable(now)
	for i := len(e.idle) - 1; i >= 0 && i >= len(e.idle)-searched; i-- {
		c := e.idle[i]
		age := now.Sub(c.idleSince)
		if age >= limit {
			break // and all before it are older
		}
		if !c.carries(host) || c.announced != 0 && age >= c.announced {
			continue
		}
		last := len(e.idle) - 1
		copy(e.idle[i:], e.idle[i+1:])
		e.idle[last] = nil
		e.idle = e.idle[:last]
		e.mu.Unlock()
		c.Reused, c.Idled = true, age
		return c
	}
	e.mu.Unlock()
	return nil
}

// Put keeps c for the next request. It must hold no unread byte.
func (e *Endpoint) Put(c *Conn, now time.Time) {
	c.Release()
	c.idleSince = now
	e.mu.Lock()
	// What the PROXY protocol has said holds for one client alone.
	if e.State() == Leaving || len(e.idle) >= e.registry.options.MaxIdle || c.announced < 0 || e.target.ProxyProtocol != 0 {
		e.mu.Unlock()
		c.Close()
		return
	}
	e.idle = append(e.idle, c)
	e.mu.Unlock()
}

// Announce heeds an answer's Keep-Alive field, such as "timeout=5, max=100": the
// seconds for which the instance keeps the connection while it is idle. What is
// no number says nothing.
func (c *Conn) Announce(value []byte) {
	for len(value) > 0 {
		var one []byte
		one, value, _ = bytes.Cut(value, []byte(","))
		name, number, _ := bytes.Cut(bytes.TrimSpace(one), []byte("="))
		if !wire.EqualFold(bytes.TrimSpace(name), "timeout") {
			continue
		}
		const longest = 1 << 20 // seconds
		n, err := strconv.ParseUint(string(bytes.Trim(number, " \t\"")), 10, 32)
		switch {
		case err != nil:
		case n == 0:
			c.announced = -1
		default:
			c.announced = nineTenths(time.Duration(min(n, longest)) * time.Second)
		}
		return
	}
}

// nineTenths of the time after which a connection is closed it is used: what is
// left is for a request to arrive.
func nineTenths(d time.Duration) time.Duration { return d - d/10 }

// Stale closes c, which was idle and of no use, and learns from it and from the
// others that are closed, too.
func (e *Endpoint) Stale(c *Conn, now time.Time) {
	e.mu.Lock()
	closed := e.closedIdle(now)
	if age, at, ok := c.closing(now); ok {
		closed = append(closed, closing{age, at})
	}
	e.lesson.learn(now, closed)
	e.mu.Unlock()
	c.Close()
}

// closing is one close of an idle connection by its instance: after how long,
// and when.
type closing struct {
	age time.Duration
	at  time.Time
}

// closing returns when the instance closed c, as the kernel knows.
func (c *Conn) closing(now time.Time) (age time.Duration, at time.Time, ok bool) {
	ago, ok := c.ClosedFor()
	at = now.Add(-ago)
	return at.Sub(c.idleSince), at, ok
}

// closedIdle looks at the idle connections, the oldest first, up to one that is
// open, and returns what is known of those that are closed. e.mu is held.
func (e *Endpoint) closedIdle(now time.Time) (closed []closing) {
	for _, c := range e.idle {
		age, at, ok := c.closing(now)
		if !ok {
			break
		}
		closed = append(closed, closing{age, at})
	}
	return closed
}

// usable is for how long a connection may have been idle to be used again.
// e.mu is held.
func (e *Endpoint) usable(now time.Time) time.Duration {
	limit := e.registry.options.IdleTimeout
	if e.lesson.holds(now) {
		limit = min(limit, nineTenths(e.lesson.after))
	}
	return limit
}

// sweep closes the idle connections that nobody uses any more, and learns from
// those that the instance has closed. The oldest may stay a bit, unused, to see
// whether what was learned still holds.
func (e *Endpoint) sweep(now time.Time) {
	e.mu.Lock()
	if len(e.idle) == 0 {
		e.mu.Unlock()
		return
	}
	closed := e.closedIdle(now)
	e.lesson.learn(now, closed)
	limit, longest := e.usable(now), e.registry.options.IdleTimeout
	if len(closed) == 0 && e.lesson.refuted(now.Sub(e.idle[0].idleSince)) {
		e.lesson = lesson{}
	}
	var old []*Conn
	kept := e.idle[:0]
	for i, c := range e.idle {
		age := now.Sub(c.idleSince)
		witness := i == 0 && len(closed) == 0 && limit < longest && age < longest
		switch {
		case i < len(closed), age >= limit && !witness, c.announced != 0 && age >= c.announced:
			old = append(old, c)
		default:
			kept = append(kept, c)
		}
	}
	clear(e.idle[len(kept):])
	e.idle = kept
	e.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// closeIdle closes the connections that have been idle since before.
func (e *Endpoint) closeIdle(before time.Time) { e.closeOldest(before, math.MaxInt) }

// closeOldest closes so many of them at most, the oldest first, and returns how
// many it closed.
func (e *Endpoint) closeOldest(before time.Time, most int) int {
	e.mu.Lock()
	n := 0
	for n < min(most, len(e.idle)) && e.idle[n].idleSince.Before(before) {
		n++
	}
	old := append([]*Conn(nil), e.idle[:n]...)
	kept := append(e.idle[:0], e.idle[n:]...)
	clear(e.idle[len(kept):])
	e.idle = kept
	e.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
	return n
}

package http1

import (
	"bytes"
	"strconv"
	"time"

	"serai/upstream"
	"serai/wire"
)

// searched bounds the idle connections that are searched for one with the right TLS
// name.
const searched = 128

// Some instances send a body behind an answer that has none, to HEAD for one, and a moment
// later than its head. To whoever used the connection meanwhile it would be the answer. So a
// connection rests for a while after an answer that tells of a body, unless so many rest
// already that requests would need many connections more.
const (
	lateBody    = 100 * time.Millisecond
	mostResting = 32
)

// get returns an idle connection with the TLS name that a request for host needs, or
// nil. The caller must check that it is open before writing to it, as
// socket.Conn.Request does: the instance may have closed it.
//
// The connection was idle for less than the time after which the instance closes idle
// connections, if known, and less than the Keeping's limit for such a request. If the
// instance closed it while a request is on its way, that would cost a retry, or fail a
// request that must not be repeated.
func (t *Transport) get(now time.Time, host []byte, repeatable bool) *conn {
	t.mu.Lock()
	longest := t.keeping.Timeout
	if repeatable {
		longest = t.keeping.Repeatable
	}
	limit := t.usable(now, longest)
	resting := 0
	for i := len(t.idle) - 1; i >= 0 && i >= len(t.idle)-searched; i-- {
		c := t.idle[i]
		age := now.Sub(c.idleSince)
		if age >= limit {
			break // the ones before it are older
		}
		if !c.carries(host) || c.announced != 0 && age >= c.announced {
			continue
		}
		// Age is negative where it became idle after the request had come.
		if c.rests > 0 && age < c.rests && resting < mostResting {
			resting++
			continue
		}
		last := len(t.idle) - 1
		copy(t.idle[i:], t.idle[i+1:])
		t.idle[last] = nil
		t.idle = t.idle[:last]
		t.mu.Unlock()
		c.unused, c.reused, c.idled = false, true, age
		return c
	}
	t.mu.Unlock()
	return nil
}

// put keeps c for another request. It must have no unread byte. Where there are enough
// already, it takes the place of the oldest one: more requests may use it.
func (t *Transport) put(c *conn, now time.Time) {
	c.Release()
	c.idleSince = now
	t.mu.Lock()
	// The PROXY header on the connection is valid for only one client.
	if t.endpoint.State() == upstream.Leaving || t.keeping.Most <= 0 || c.announced < 0 || t.tellsClient {
		t.mu.Unlock()
		c.Close()
		return
	}
	var oldest *conn
	if len(t.idle) >= t.keeping.Most {
		oldest = t.idle[0]
		copy(t.idle, t.idle[1:])
		t.idle = t.idle[:len(t.idle)-1]
	}
	t.idle = append(t.idle, c)
	t.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
}

// announce parses an answer's Keep-Alive field, such as "timeout=5, max=100": the
// seconds for which the instance keeps an idle connection. It ignores a value that is
// not a number.
func (c *conn) announce(value []byte) {
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

// nineTenths is the part of a timeout during which a connection is used. The rest
// leaves time for a request to arrive.
func nineTenths(d time.Duration) time.Duration { return d - d/10 }

// stale closes c, which the instance has closed, and learns from it and from others
// that are closed, too.
func (t *Transport) stale(c *conn, now time.Time) {
	t.mu.Lock()
	closed := t.closedIdle(now)
	if age, at, ok := c.closing(now); ok {
		closed = append(closed, closing{age, at})
	}
	t.observed.learn(now, closed)
	t.mu.Unlock()
	c.Close()
}

// closing is one close of an idle connection by its instance: after how long, and when.
type closing struct {
	age time.Duration
	at  time.Time
}

// closing returns when the instance closed c, as the kernel knows.
func (c *conn) closing(now time.Time) (age time.Duration, at time.Time, ok bool) {
	ago, ok := c.ClosedFor()
	at = now.Add(-ago)
	return at.Sub(c.idleSince), at, ok
}

// closedIdle checks the idle connections, the oldest first, up to one that is open, and
// returns the closes of the others. t.mu is held.
func (t *Transport) closedIdle(now time.Time) (closed []closing) {
	for _, c := range t.idle {
		age, at, ok := c.closing(now)
		if !ok {
			break
		}
		closed = append(closed, closing{age, at})
	}
	return closed
}

// usable is the longest idle time after which a connection may be used again: at most
// that long, and less if the instance closes it sooner. t.mu is held.
func (t *Transport) usable(now time.Time, longest time.Duration) time.Duration {
	if t.observed.holds(now) {
		return min(longest, nineTenths(t.observed.after))
	}
	return longest
}

// Sweep closes the idle connections that will not be used any more, and learns from
// those that the instance has closed. The oldest one may stay a bit longer, unused, to
// test whether what was learned still holds.
func (t *Transport) Sweep(now time.Time) {
	t.mu.Lock()
	if len(t.idle) == 0 {
		t.mu.Unlock()
		return
	}
	closed := t.closedIdle(now)
	t.observed.learn(now, closed)
	// Who keeps connections for long shall not use up what others need, and those of probes
	// can be as many as there are instances.
	usual, longest := t.keeping.Timeout, t.keeping.Repeatable
	if !t.endpoint.ConnectionsToSpare() {
		longest = usual
	}
	limit := t.usable(now, longest)
	if len(closed) == 0 && t.observed.refuted(now.Sub(t.idle[0].idleSince)) {
		t.observed = observedTimeout{}
	}
	var old []*conn
	kept := t.idle[:0]
	for i, c := range t.idle {
		age := now.Sub(c.idleSince)
		stillTested := i == 0 && len(closed) == 0 && limit < longest && age < longest
		switch {
		case i < len(closed), age >= limit && !stillTested, c.announced != 0 && age >= c.announced, c.unused && age >= usual:
			old = append(old, c)
		default:
			kept = append(kept, c)
		}
	}
	clear(t.idle[len(kept):])
	t.idle = kept
	t.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// CloseIdle closes at most that many of the connections that have been idle since
// before, the oldest first, and returns how many it closed.
func (t *Transport) CloseIdle(before time.Time, most int) int {
	t.mu.Lock()
	n := 0
	for n < min(most, len(t.idle)) && t.idle[n].idleSince.Before(before) {
		n++
	}
	old := append([]*conn(nil), t.idle[:n]...)
	kept := append(t.idle[:0], t.idle[n:]...)
	clear(t.idle[len(kept):])
	t.idle = kept
	t.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
	return n
}

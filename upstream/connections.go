package upstream

import (
	"math"
	"time"
)

// Room for connections is looked for in vain at most this often: with all of
// them in use there is nothing to close, and thousands of endpoints to ask.
const lookForRoom = 100 * time.Millisecond

// makeRoom closes idle connections of some endpoint, the oldest first, and
// reports whether there were any.
func (r *Registry) makeRoom() bool {
	now := time.Now()
	if last := r.noRoom.Load(); now.UnixNano()-last < int64(lookForRoom) {
		return false
	}
	const some = 8
	r.mu.Lock()
	var idle *Endpoint
	for _, e := range r.endpoints { // in no order: all are asked in turn
		if e.transport.Status().Idle > 0 {
			idle = e
			break
		}
	}
	r.mu.Unlock()
	if idle != nil && idle.transport.CloseIdle(now.Add(time.Hour), some) > 0 {
		return true
	}
	r.noRoom.Store(now.UnixNano())
	return false
}

// closeIdle closes the connections that have been unused since before.
func (e *Endpoint) closeIdle(before time.Time) { e.transport.CloseIdle(before, math.MaxInt) }

// ConnStats is what is known of the connections to all instances.
type ConnStats struct {
	// Open is how many there are, of Limit; 0 means no limit.
	Open, Limit int
	// Refused counts those that were not made for want of a descriptor.
	Refused uint64
}

// Connections returns what is known of the connections to all instances.
func (r *Registry) Connections() ConnStats {
	d := &r.dialer
	return ConnStats{Open: int(d.conns.Taken()), Limit: d.MaxConns, Refused: d.refused.Load()}
}

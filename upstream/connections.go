package upstream

import (
	"math"
	"time"

	"serai/wire/socket"
)

// lookForRoom is the time between two searches of makeRoom after one that found nothing:
// when all connections are in use there is nothing to close, and there may be thousands of
// endpoints to search.
const lookForRoom = 100 * time.Millisecond

// makeRoom closes the oldest idle connections of some endpoint, and reports whether
// there were any.
func (r *Registry) makeRoom() bool { return r.closeSome(&r.noRoom) }

// makeRoomBeyond is makeRoom for one that is beyond its share. That it has searched in vain
// keeps nobody else from searching.
func (r *Registry) makeRoomBeyond() bool { return r.closeSome(&r.noRoomBeyond) }

func (r *Registry) closeSome(inVain *socket.Moment) bool {
	now := time.Now()
	if now.Sub(inVain.Time()) < lookForRoom {
		return false
	}
	const some = 8
	r.mu.Lock()
	var idle *Endpoint
	for _, e := range r.endpoints { // random order: so all get their turn
		if e.transport.Status().Idle > 0 {
			idle = e
			break
		}
	}
	r.mu.Unlock()
	if idle != nil && idle.transport.CloseIdle(now.Add(time.Hour), some) > 0 {
		return true
	}
	inVain.Set(now)
	return false
}

// closeIdle closes the connections that have been idle since before.
func (e *Endpoint) closeIdle(before time.Time) { e.transport.CloseIdle(before, math.MaxInt) }

// ConnStats describes the connections to all instances.
type ConnStats struct {
	// Open is the number of connections, at most Limit; 0 means no limit.
	Open, Limit int
	// Refused counts connections that were not opened for lack of a descriptor.
	Refused uint64
}

// Connections describes the connections to all instances.
func (r *Registry) Connections() ConnStats {
	d := &r.dialer
	return ConnStats{Open: int(d.conns.Taken()), Limit: d.MaxConns, Refused: d.refused.Load()}
}

package upstream

import (
	"maps"
	"slices"
)

// waitingBytes is what all waiting requests hold, of which each namespace and each of
// its rooms has its share. It is guarded by line.mu.
type waitingBytes struct {
	shares[*Room]
	displaced uint64 // requests that had to leave for others
}

// take counts n bytes of a request in the room, and reports whether there was room. If
// the limit is reached and the request is within its room's share, the newest requests
// of rooms that have more must leave.
func (b *waitingBytes) take(r *Room, n, limit int64) bool {
	if b.held+n > limit {
		overShare := b.overShare(r.namespace, r, n, limit)
		for b.held+n > limit {
			if overShare == nil || !b.displace(overShare()) {
				return false
			}
		}
	}
	b.add(r.namespace, r, n)
	return true
}

// displace makes the newest request of the room leave.
func (b *waitingBytes) displace(r *Room, ok bool) bool {
	if !ok {
		return false
	}
	w := r.waiters[len(r.waiters)-1]
	r.drop(w)
	b.displaced++
	w.refused = ErrRoomFull
	close(w.got)
	return true
}

// drop takes w out of the line, if it is still there. line.mu is held.
func (r *Room) drop(w *waiter) {
	if i := slices.Index(r.waiters, w); i >= 0 {
		r.waiters = slices.Delete(r.waiters, i, i+1)
		r.registry.line.bytes.add(r.namespace, r, -w.Holds)
	}
}

// WaitingStats describes the requests that wait for a place.
type WaitingStats struct {
	Requests int
	// Bytes is what they hold, at most Limit.
	Bytes, Limit int64
	// Displaced counts requests that had to leave for requests of routes with less than
	// their share.
	Displaced uint64
}

// Waiting describes the requests that wait in all rooms.
func (r *Registry) Waiting() WaitingStats {
	l := &r.line
	l.mu.Lock()
	defer l.mu.Unlock()
	s := WaitingStats{Bytes: l.bytes.held, Limit: r.options.MaxWaitingBytes, Displaced: l.bytes.displaced}
	for _, p := range l.bytes.namespaces {
		for room := range p.parties {
			s.Requests += len(room.waiters)
		}
	}
	return s
}

// EndWaits makes all waits in all rooms fail with ErrStopping, now and later. Requests that find
// a free place at once still get it.
func (r *Registry) EndWaits() {
	l := &r.line
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = true
	var rooms []*Room
	for _, p := range l.bytes.namespaces {
		rooms = slices.AppendSeq(rooms, maps.Keys(p.parties))
	}
	for _, room := range rooms { // which go from the shares with their last request
		room.refuse(ErrStopping)
	}
}

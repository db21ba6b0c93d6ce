package upstream

import "slices"

// waitingBytes is what all requests that wait hold, of which each namespace and
// each of its rooms has its share. It is guarded by line.mu.
type waitingBytes struct {
	shares[*Room]
	displaced uint64 // requests that had to leave for others
}

// take counts n bytes of a request in the room in, and reports whether it did.
// Where the pot is full and the request within its room's share, those leave that
// came last to the rooms that have more.
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

// displace lets the request go that came last to the room.
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

// drop takes w out of the line, if it still stands there. line.mu is held.
func (r *Room) drop(w *waiter) {
	if i := slices.Index(r.waiters, w); i >= 0 {
		r.waiters = slices.Delete(r.waiters, i, i+1)
		r.registry.line.bytes.add(r.namespace, r, -w.Holds)
	}
}

// WaitingStats is what is known of the requests that wait for a place.
type WaitingStats struct {
	Requests int
	// Bytes is what they hold, of Limit.
	Bytes, Limit int64
	// Displaced counts those that had to leave for requests of routes that had
	// less than their share.
	Displaced uint64
}

// Waiting returns what is known of the requests that wait in all rooms.
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

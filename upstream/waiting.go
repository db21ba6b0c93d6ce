package upstream

import (
	"maps"
	"slices"
)

// waitingBytes is what all requests that wait hold, by namespace and room. It is
// guarded by line.mu.
//
// There is one pot for all, and nobody's part of it lies idle: a single route may
// take the whole of it. Who comes when it is full, and has less than the share of
// his namespace and route, takes the place of who came last of those that have
// more. With n namespaces in line each has an n-th part, and so has each of the
// routes of a namespace of what is the namespace's: however many the others send,
// that much is always there.
type waitingBytes struct {
	held       int64
	namespaces map[string]*portion
	displaced  uint64 // requests that had to leave for others
}

// portion is what the requests of one namespace hold.
type portion struct {
	held  int64
	rooms map[*Room]int64 // those that hold something
}

// add counts n bytes of a request in the room in, or out where n is negative.
func (b *waitingBytes) add(r *Room, n int64) {
	p := b.namespaces[r.namespace]
	if p == nil {
		p = &portion{rooms: make(map[*Room]int64)}
		if b.namespaces == nil {
			b.namespaces = make(map[string]*portion)
		}
		b.namespaces[r.namespace] = p
	}
	b.held += n
	p.held += n
	if p.rooms[r] += n; p.rooms[r] == 0 {
		delete(p.rooms, r)
	}
	if len(p.rooms) == 0 {
		delete(b.namespaces, r.namespace)
	}
}

// take counts n bytes of a request in the room in, making room for them where it
// has a right to it, and reports whether it did.
func (b *waitingBytes) take(r *Room, n, limit int64) bool {
	from := b.claims(r, n, limit)
	for b.held+n > limit {
		if from == nil || !b.displaceLast(from) {
			return false
		}
	}
	b.add(r, n)
	return true
}

// claims returns the function that finds who has more than his share when n bytes
// of the room are within its own; nil when they are not.
func (b *waitingBytes) claims(r *Room, n, limit int64) func() *Room {
	parties, held := int64(len(b.namespaces)), int64(0)
	own := b.namespaces[r.namespace]
	if own != nil {
		held = own.held
	} else {
		parties++
	}
	share := limit / parties
	if held+n <= share {
		return b.largest
	}
	if own == nil {
		return nil
	}
	rooms := int64(len(own.rooms))
	if own.rooms[r] == 0 {
		rooms++
	}
	if own.rooms[r]+n <= max(share, own.held)/rooms {
		return own.largest
	}
	return nil
}

// largest returns the room that holds most of the namespace that does.
func (b *waitingBytes) largest() *Room {
	var most *portion
	for p := range maps.Values(b.namespaces) {
		if most == nil || p.held > most.held {
			most = p
		}
	}
	if most == nil {
		return nil
	}
	return most.largest()
}

// largest returns the room that holds most.
func (p *portion) largest() (most *Room) {
	for r, held := range p.rooms {
		if most == nil || held > p.rooms[most] {
			most = r
		}
	}
	return most
}

// displaceLast lets the request go that came last to the room that has most.
func (b *waitingBytes) displaceLast(largest func() *Room) bool {
	r := largest()
	if r == nil || len(r.waiters) == 0 {
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
		r.registry.line.bytes.add(r, -w.Holds)
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
		for room := range p.rooms {
			s.Requests += len(room.waiters)
		}
	}
	return s
}

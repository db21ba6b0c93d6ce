package upstream

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// line is everybody who waits for a place on an endpoint, in the order in which
// they came, over all Rooms of a Registry: routes of one service share their
// instances. A place that becomes free is taken on behalf of the first who can
// use it and handed over, so that nobody has to look again, finds it taken, or is
// overtaken.
//
// Whoever waits makes its endpoints wanted before it looks for a place, and
// whoever ends a request gives its place back before it looks whether it is
// wanted: one of them sees the other. A request that finds an endpoint wanted
// does not take a place there, but goes through Room.Wait, behind the others.
// While nobody waits, nobody takes the lock.
type line struct {
	mu     sync.Mutex
	ticket uint64 // of the last who came
	bytes  waitingBytes
}

// waiter is a request in a Room. Guarded by line.mu; its Attributes may be read
// until it has left.
type waiter struct {
	WaitingRequest
	ticket  uint64
	given   *Member       // whose place has been taken for it
	refused error         // why there will be none
	got     chan struct{} // closed once it has one of the two
}

// wish is a member that the requests of a room want a place on. Endpoint.wishes
// are guarded by line.mu.
type wish struct {
	room   *Room
	member *Member
	// The waiters up to this ticket have been asked and cannot use the member:
	// that changes only with the pool, or when other instances come or go.
	passed uint64
}

// wishes are those for one endpoint.
type wishes struct {
	wanted atomic.Bool // there are some
	all    []wish
}

// offer gives the places that are free on e to the first in line who can use
// them.
func (l *line) offer(e *Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.give(e)
}

// give is offer with l.mu held.
func (l *line) give(e *Endpoint) {
	for {
		room, w, m := e.wishes.first(0)
		if w == nil {
			return
		}
		if m.begin() { // else a request has got it that came before anybody waited
			room.hand(w, m)
		}
	}
}

// place takes a place for a request that came with ticket. Members are chosen as
// for any other; a place that somebody can use who came earlier is handed to him.
func (l *line) place(p *Pool, now time.Time, q *WaitingRequest, ticket uint64) *Member {
	for {
		m := p.pick(&search{now: now, a: q.Attributes, tried: q.Tried, inLine: true}, q.Again)
		if m == nil {
			return nil
		}
		room, w, same := m.Endpoint.wishes.first(1)
		if w == nil || w.ticket >= ticket {
			return m
		}
		room.hand(w, same)
	}
}

// first returns who has waited longest of those who can use e now, nil when
// there is nobody. So many requests there are not counted.
func (s *wishes) first(uncounted int) (room *Room, first *waiter, m *Member) {
	for i := range s.all {
		wish := &s.all[i]
		if !wish.member.free(uncounted) {
			continue
		}
		for _, w := range wish.room.after(wish.passed) {
			if first != nil && first.ticket < w.ticket {
				break
			}
			if wish.room.pool.Load().admits(wish.member, &w.WaitingRequest) {
				room, first, m = wish.room, w, wish.member
				break
			}
			wish.passed = w.ticket
		}
	}
	return room, first, m
}

// changed hands places out after e has changed its state. Where a canary takes
// over from stable members that are gone, others can be used than before.
func (l *line) changed(e *Endpoint) {
	if !e.wishes.wanted.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.give(e)
	for _, w := range slices.Clone(e.wishes.all) {
		if p := w.room.pool.Load(); p.drawn {
			w.room.wish(p)
			w.room.serve(p)
		}
	}
}

// serve takes places for those who wait in the room, each chosen as if the
// request came now. line.mu is held.
func (r *Room) serve(p *Pool) {
	now := time.Now()
	for _, w := range slices.Clone(r.waiters) {
		if w.given != nil { // by the search for another one
			continue
		}
		m := r.registry.line.place(p, now, &w.WaitingRequest, w.ticket)
		switch {
		case m != nil:
			r.hand(w, m)
		case !p.anyFree():
			return
		}
	}
}

// hand gives w a place on m, which has been taken. line.mu is held.
func (r *Room) hand(w *waiter, m *Member) {
	r.drop(w)
	w.given = m
	close(w.got)
}

// after returns the waiters with a higher ticket.
func (r *Room) after(ticket uint64) []*waiter {
	return r.waiters[sort.Search(len(r.waiters), func(i int) bool { return r.waiters[i].ticket > ticket }):]
}

// wish makes the members of p wanted by the room, and those of another pool no
// longer; nil makes none wanted. line.mu is held.
func (r *Room) wish(p *Pool) {
	if r.wished != nil {
		for i := range r.wished.members {
			s := &r.wished.members[i].Endpoint.wishes
			s.all = slices.DeleteFunc(s.all, func(w wish) bool { return w.room == r })
			s.wanted.Store(len(s.all) > 0)
		}
	}
	if r.wished = p; p == nil {
		return
	}
	for i := range p.members {
		if m := &p.members[i]; m.Weight > 0 {
			s := &m.Endpoint.wishes
			s.all = append(s.all, wish{room: r, member: m})
			s.wanted.Store(true)
		}
	}
}

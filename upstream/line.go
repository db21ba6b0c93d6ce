package upstream

import (
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// line has all requests that wait for a place on an endpoint, in the order of their
// arrival, over all Rooms of a Registry: routes of one service share their instances. A
// place that becomes free is taken on behalf of the first request that can use it and
// handed over, so that no request has to look again, finds it taken, or is overtaken.
//
// A waiting request makes its endpoints wanted before it looks for a place, and a
// request that ends gives its place back before it checks whether the endpoint is
// wanted: so one of them sees the other. A request that finds an endpoint wanted does
// not take a place there, but goes through Room.Wait, behind the others. While no
// request waits, none takes the lock.
type line struct {
	mu     sync.Mutex
	ticket uint64 // ticket of the last arrival
	bytes  waitingBytes
	// stopping says that nobody waits any more.
	stopping bool
}

// waiter is a request in a Room. Guarded by line.mu; its Attributes may be read until
// it has left.
type waiter struct {
	WaitingRequest
	ticket  uint64
	given   *Member       // a place on this member was taken for it
	refused error         // why it will get no place
	got     chan struct{} // closed once given or refused is set
}

// wish is a member on which requests of a room want a place. Endpoint.wishes are
// guarded by line.mu.
type wish struct {
	room   *Room
	member *Member
	// ruledOut is a ticket: the member takes no waiter up to it, so a free place is not
	// offered to them again. This stays true until the room has another pool, or other
	// instances come or go; Room.want then makes a new wish, which rules nobody out.
	ruledOut uint64
}

// wishes are the wishes for one endpoint.
type wishes struct {
	wanted atomic.Bool // there is at least one
	all    []wish
}

// offer gives the free places on e to the first requests in line that can use them.
func (l *line) offer(e *Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.give(e)
}

// give is offer with l.mu held.
func (l *line) give(e *Endpoint) {
	for {
		wish, w := e.wishes.first(0)
		if w == nil {
			return
		}
		if wish.member.begin() { // otherwise a request that came before any waited took it
			wish.room.hand(w, wish.member)
		}
	}
}

// place takes a place for a request with this ticket, on a member chosen as for any
// request. If an earlier request can use the place, it gives it to that one and tries
// again.
func (l *line) place(p *Pool, now time.Time, q *WaitingRequest, ticket uint64) *Member {
	for {
		m := p.pick(&search{now: now, a: q.Attributes, tried: q.Tried, inLine: true}, q.Again)
		if m == nil {
			return nil
		}
		wish, w := m.Endpoint.wishes.first(1) // not counting the place just taken
		if w == nil || w.ticket >= ticket {
			return m
		}
		wish.room.hand(w, wish.member)
	}
}

// first returns the earliest waiter that can use the endpoint now, and the wish that it
// is for; nil when there is none. Uncounted requests on the endpoint are not counted.
func (s *wishes) first(uncounted int) (first *wish, w *waiter) {
	latest := uint64(math.MaxUint64)
	for i := range s.all {
		wish := &s.all[i]
		if !wish.member.free(uncounted) {
			continue
		}
		if earlier := wish.first(latest); earlier != nil {
			first, w, latest = wish, earlier, earlier.ticket
		}
	}
	return first, w
}

// first returns the earliest waiter of the room that the member takes, nil when there
// is none up to the latest ticket.
func (w *wish) first(latest uint64) *waiter {
	pool := w.room.pool.Load()
	for _, next := range w.room.after(w.ruledOut) {
		switch {
		case next.ticket > latest:
			return nil
		case pool.admits(w.member, &next.WaitingRequest):
			return next
		}
		w.ruledOut = next.ticket
	}
	return nil
}

// changed hands out places after e has changed its state. When a canary replaces stable
// members that are gone, other members can be used than before.
func (l *line) changed(e *Endpoint) {
	if !e.wishes.wanted.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.give(e)
	for _, wish := range slices.Clone(e.wishes.all) { // want changes the list
		if p := wish.room.pool.Load(); p.drawn {
			wish.room.want(p)
			wish.room.serve(p)
		}
	}
}

// serve takes places for the requests that wait in the room, each chosen as if the
// request had just come. line.mu is held.
func (r *Room) serve(p *Pool) {
	now := time.Now()
	for _, w := range slices.Clone(r.waiters) {
		if w.given != nil { // another search gave it a place
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

// hand hands w a place on m, which was taken for it. line.mu is held.
func (r *Room) hand(w *waiter, m *Member) {
	r.drop(w)
	w.given = m
	close(w.got)
}

// after returns the waiters with a higher ticket.
func (r *Room) after(ticket uint64) []*waiter {
	return r.waiters[sort.Search(len(r.waiters), func(i int) bool { return r.waiters[i].ticket > ticket }):]
}

// want makes the members of p wanted by the room, and those of its last pool no longer;
// with nil, none are wanted. line.mu is held.
func (r *Room) want(p *Pool) {
	if r.wanted != nil {
		for _, m := range r.wanted.members {
			s := &m.Endpoint.wishes
			s.all = slices.DeleteFunc(s.all, func(w wish) bool { return w.room == r })
			s.wanted.Store(len(s.all) > 0)
		}
	}
	r.wanted = p
	if p == nil {
		return
	}
	for _, m := range p.members {
		if m.Weight > 0 {
			s := &m.Endpoint.wishes
			s.all = append(s.all, wish{room: r, member: m})
			s.wanted.Store(true)
		}
	}
}

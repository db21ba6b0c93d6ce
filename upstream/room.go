package upstream

import (
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// Room is where the requests of one route wait while none of its members has a place
// for them. It outlives pools: requests that wait through a redeploy get members of the
// pool that is current by then. It also keeps the state of a route that must survive a
// rebuild of its pool.
type Room struct {
	registry  *Registry
	namespace string
	pool      atomic.Pointer[Pool]  // written under line.mu
	turns     atomic.Pointer[turns] // made by the first request that takes a turn

	// Guarded by the registry's line.mu:
	waiters []*waiter // first in, first out
	wanted  *Pool     // the pool whose members are wanted
	inside  int32     // requests within Wait; while there are any, the members are wanted
	ended   bool      // its route is gone
}

// turns counts the turns of groups that choose their members in turn.
type turns [turnCounters]atomic.Uint64

// take returns the number of the next turn of a counter, from 0.
func (r *Room) take(counter int) uint64 {
	t := r.turns.Load()
	if t == nil {
		r.turns.CompareAndSwap(nil, &turns{})
		t = r.turns.Load()
	}
	return t[counter].Add(1) - 1
}

// Why a wait ended without a member.
var (
	ErrRoomFull    = errors.New("too many requests wait for an instance")
	ErrWaitTimeout = errors.New("no instance became ready in time")
	ErrClientGone  = errors.New("the client left while waiting for an instance")
	ErrRoomEnded   = errors.New("no instance will come for this route any more")
	ErrStopping    = errors.New("serai stops before an instance became ready")
)

// WaitingRequest is what a Room needs to know of a request that waits. The first three
// are the arguments of Pool.Pick; other goroutines read them until Wait returns.
type WaitingRequest struct {
	Attributes Attributes
	Tried      *Tried
	Again      bool
	// Holds is how many bytes the request keeps while it waits, at least one: the sum
	// of all rooms is limited.
	Holds int64
	// Gone is closed when the client leaves.
	Gone <-chan struct{}
}

// Waiting returns how many requests wait.
func (r *Room) Waiting() int {
	l := &r.registry.line
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(r.waiters)
}

// Wait blocks until a member of the room's current pool has a place for the request and
// no earlier request can use it. It returns that member, on which the request is in
// flight then until End. It fails with ErrRoomFull, ErrWaitTimeout after d,
// ErrClientGone, ErrRoomEnded, or ErrStopping.
func (r *Room) Wait(d time.Duration, q WaitingRequest) (*Member, error) {
	w, m, err := r.enter(d, q)
	if w == nil {
		return m, err
	}
	r.probeWanted()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.got:
		err = w.refused // nil when it was given a member
	case <-timer.C:
		err = ErrWaitTimeout
	case <-q.Gone:
		err = ErrClientGone
	}
	m = r.leave(w)
	switch {
	case m == nil:
		return nil, err
	case err == ErrClientGone:
		m.Endpoint.giveBack()
		return nil, err
	}
	return m, nil // even if the time ended at this very moment
}

// enter returns a place that no request in line can use, or joins the line.
func (r *Room) enter(d time.Duration, q WaitingRequest) (*waiter, *Member, error) {
	l := &r.registry.line
	l.mu.Lock()
	defer l.mu.Unlock()
	p := r.pool.Load()
	if r.inside++; r.inside == 1 && d > 0 {
		r.want(p)
	}
	if p != nil {
		if m := l.place(p, time.Now(), &q, math.MaxUint64); m != nil {
			r.exit()
			return nil, m, nil
		}
	}
	switch {
	case r.ended:
		r.exit()
		return nil, nil, ErrRoomEnded
	case l.stopping:
		r.exit()
		return nil, nil, ErrStopping
	case d <= 0:
		r.exit()
		return nil, nil, ErrWaitTimeout
	}
	q.Holds = max(q.Holds, 1)
	if len(r.waiters) >= r.registry.options.MaxWaiting || !l.bytes.take(r, q.Holds, r.registry.options.MaxWaitingBytes) {
		r.exit()
		return nil, nil, ErrRoomFull
	}
	l.ticket++
	w := &waiter{WaitingRequest: q, ticket: l.ticket, got: make(chan struct{})}
	r.waiters = append(r.waiters, w)
	return w, nil, nil
}

// exit undoes enter. line.mu is held.
func (r *Room) exit() {
	if r.inside--; r.inside == 0 {
		r.want(nil)
	}
}

// leave takes w out of the line. It returns the member that was given to it, nil for
// none.
func (r *Room) leave(w *waiter) *Member {
	l := &r.registry.line
	l.mu.Lock()
	defer l.mu.Unlock()
	r.drop(w)
	r.exit()
	return w.given
}

// End makes all waits fail, now and later: the room's route is gone.
func (r *Room) End() {
	l := &r.registry.line
	l.mu.Lock()
	defer l.mu.Unlock()
	r.refuse(ErrRoomEnded)
	r.ended = true
}

// refuse ends all waits for that reason. line.mu is held.
func (r *Room) refuse(why error) {
	for _, w := range slices.Clone(r.waiters) {
		r.drop(w)
		w.refused = why
		close(w.got)
	}
}

// probeWanted has the members that requests wait for probed before all others.
func (r *Room) probeWanted() {
	p := r.pool.Load()
	if p == nil {
		return
	}
	const enough = 8
	for _, m := range p.members[:min(enough, len(p.members))] {
		if e := m.Endpoint; e.State() == Probing {
			r.registry.prober.ask(e, true)
		}
	}
}

// publish makes p the room's pool, hands its places to waiting requests, and reports
// whether there were any.
func (r *Room) publish(p *Pool) bool {
	l := &r.registry.line
	l.mu.Lock()
	defer l.mu.Unlock()
	r.pool.Store(p)
	if r.inside == 0 {
		return false
	}
	r.want(p)
	r.serve(p)
	return true
}

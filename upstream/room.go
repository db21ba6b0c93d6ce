package upstream

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Room is where the requests of one route wait while none of its members is
// ready. It outlives pools: requests that wait through a redeploy are woken
// by the members of the pool that is current by then. It also keeps what a
// route must not forget when its pool is rebuilt.
type Room struct {
	registry *Registry
	pool     atomic.Pointer[Pool]
	turn     atomic.Uint64 // of round-robin

	mu      sync.Mutex
	waiters []chan struct{} // first in, first out; closed to let go
	ended   bool
}

// Why a wait ended without a member.
var (
	ErrRoomFull    = errors.New("too many requests wait for an instance")
	ErrWaitTimeout = errors.New("no instance became ready in time")
	ErrClientGone  = errors.New("the client left while waiting for an instance")
	ErrRoomEnded   = errors.New("no instance will come for this route any more")
)

// Waiting returns how many requests wait.
func (r *Room) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiters)
}

// Wait blocks until the room's current pool has a member that may take a
// request, and returns that pool. It fails with ErrRoomFull, ErrWaitTimeout
// after d, ErrClientGone when gone is closed, or ErrRoomEnded. Holds is how many bytes the
// request keeps meanwhile: those of all rooms together are bounded.
func (r *Room) Wait(d time.Duration, holds int64, gone <-chan struct{}) (*Pool, error) {
	if d <= 0 {
		return nil, ErrWaitTimeout
	}
	defer r.registry.held.Add(-holds)
	if r.registry.held.Add(holds) > r.registry.options.MaxWaitingBytes {
		return nil, ErrRoomFull
	}
	let := make(chan struct{})
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return nil, ErrRoomEnded
	}
	if len(r.waiters) >= r.registry.options.MaxWaiting {
		r.mu.Unlock()
		return nil, ErrRoomFull
	}
	r.waiters = append(r.waiters, let)
	r.mu.Unlock()
	r.registry.waits(r)

	// A member may have become ready before we stood in line.
	r.wakeIfFit(everybody)
	r.hurry()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-let:
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ended {
			return nil, ErrRoomEnded
		}
		return r.pool.Load(), nil
	case <-timer.C:
		r.leave(let)
		return nil, ErrWaitTimeout
	case <-gone:
		r.leave(let)
		return nil, ErrClientGone
	}
}

// End lets all requests go that wait, and those that will come, without a
// member: the room's route is gone.
func (r *Room) End() {
	r.mu.Lock()
	waiters := r.waiters
	r.waiters, r.ended = nil, true
	r.mu.Unlock()
	for _, let := range waiters {
		close(let)
	}
	if len(waiters) > 0 {
		r.registry.waits(r)
	}
}

// hurry has the members probed that requests wait for.
func (r *Room) hurry() {
	p := r.pool.Load()
	if p == nil {
		return
	}
	const enough = 8
	for i := range p.members[:min(enough, len(p.members))] {
		if e := p.members[i].Endpoint; e.State() == Probing {
			r.registry.prober.ask(e, true)
		}
	}
}

func (r *Room) leave(let chan struct{}) {
	r.mu.Lock()
	if i := slices.Index(r.waiters, let); i >= 0 {
		r.waiters = slices.Delete(r.waiters, i, i+1)
	}
	r.mu.Unlock()
	r.registry.waits(r)
}

// wakeIfFit lets the first few go, in order, when the current pool has a
// member for them. Those that find it taken again come back.
func (r *Room) wakeIfFit(most int) {
	p := r.pool.Load()
	if p == nil || !p.anyFit() {
		return
	}
	r.mu.Lock()
	n := min(most, len(r.waiters))
	waiters := slices.Clone(r.waiters[:n])
	r.waiters = slices.Delete(r.waiters, 0, n)
	r.mu.Unlock()
	for _, let := range waiters {
		close(let)
	}
	if len(waiters) > 0 {
		r.registry.waits(r)
	}
}

// waits notes whether requests wait in room.
func (r *Registry) waits(room *Room) {
	r.waitMu.Lock()
	defer r.waitMu.Unlock()
	if room.Waiting() > 0 {
		r.waiting[room] = struct{}{}
	} else {
		delete(r.waiting, room)
	}
}

package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// probed is what one probe tests. All endpoints for which the probe would be the same
// share it and its result: sixty registrations of one address are not probed sixty
// times. A result does not count for an endpoint that came, or changed its state, after
// the probe was begun, and it counts only once.
type probed struct {
	key  Target
	refs int // guarded by Registry.mu

	mu      sync.Mutex
	running int    // probes in progress
	number  uint64 // number of the last one that was begun, in the order of all probes
	within  time.Duration
	result  *result // of the last one, nil before
	waiting []*Endpoint
}

// checksOfAddress is how many different checks of one namespace an address gets per
// MinCheckInterval. With more, each is made less often. They may differ only in a path
// or in the Host, and the server at the address may have nothing to do with them.
const checksOfAddress = 8

// checked counts the different checks of one namespace at an address.
type checked struct {
	refs  map[*probed]int // guarded by Registry.mu
	count atomic.Int64
}

// site is an address, as one namespace names it: no namespace makes the checks of
// another one rarer.
type site struct{ namespace, address string }

func (e *Endpoint) site() site { return site{e.target.Namespace, e.target.Address} }

// minCheckInterval is the shortest pause after a successful check of e.
func (e *Endpoint) minCheckInterval() time.Duration {
	times := (e.checked.count.Load() + checksOfAddress - 1) / checksOfAddress
	return e.registry.options.MinCheckInterval * time.Duration(times)
}

// result is what a probe has shown: no error, or what is wrong.
type result struct {
	err error
	at  time.Time
}

// probes are counters of all probes.
type probes struct {
	begun  atomic.Uint64 // so far; also the number of the last one
	shared atomic.Uint64 // results that came from another endpoint's probe
}

// probeKey is the part of t that a probe depends on.
func (t Target) probeKey() Target {
	t.Instance, t.Namespace, t.Job, t.Check.Interval = "", "", "", 0
	return t
}

// link connects a new endpoint to what it shares with others. r.mu is held.
func (r *Registry) link(e *Endpoint) {
	q := e.target.probeKey()
	if e.probed = r.probed[q]; e.probed == nil {
		e.probed = &probed{key: q}
		r.probed[q] = e.probed
	}
	e.probed.refs++
	if e.checked = r.checked[e.site()]; e.checked == nil {
		e.checked = &checked{refs: make(map[*probed]int)}
		r.checked[e.site()] = e.checked
	}
	e.checked.refs[e.probed]++
	e.checked.count.Store(int64(len(e.checked.refs)))
	if e.rate = r.rates[e.job()]; e.rate == nil {
		n := r.options.JobProbeRate
		e.rate = &jobRate{limiter: rate.NewLimiter(rate.Limit(n), n)}
		r.rates[e.job()] = e.rate
	}
	e.rate.refs++
	e.conns = r.dialer.shares.join(e.job())
	e.entered.Store(r.probes.begun.Load())
}

// unlink undoes link. r.mu is held.
func (r *Registry) unlink(e *Endpoint) {
	if e.probed.refs--; e.probed.refs == 0 {
		delete(r.probed, e.probed.key)
	}
	if e.checked.refs[e.probed]--; e.checked.refs[e.probed] == 0 {
		delete(e.checked.refs, e.probed)
		e.checked.count.Store(int64(len(e.checked.refs)))
		if len(e.checked.refs) == 0 {
			delete(r.checked, e.site())
		}
	}
	if e.rate.refs--; e.rate.refs == 0 {
		delete(r.rates, e.job())
	}
	r.dialer.shares.leave(e.conns)
}

// examine returns what a probe of e shows: of a probe of its own, with the connect
// bounded by within, or of another endpoint's probe that is younger than fresh. It
// returns nil when there is no result yet: e is looked at again when the current probe
// has ended.
func (r *Registry) examine(ctx context.Context, e *Endpoint, within, fresh time.Duration) *result {
	q := e.probed
	q.mu.Lock()
	if q.number > max(e.entered.Load(), e.used) && fresh > 0 {
		switch v := q.result; {
		case v == nil && q.running > 0:
			q.waiting = append(q.waiting, e)
			q.mu.Unlock()
			return nil
		case v != nil && time.Since(v.at) < fresh && (v.err == nil || q.within >= within):
			e.used = q.number
			q.mu.Unlock()
			r.probes.shared.Add(1)
			return v
		}
	}
	e.rate.spend(e)
	number := r.probes.begun.Add(1)
	q.running++
	q.number, q.within, q.result, e.used = number, within, nil, number
	q.mu.Unlock()
	v := &result{err: r.probe(ctx, e, within)}
	v.at = time.Now()
	q.mu.Lock()
	q.running--
	if q.number == number && !v.inconclusive(ctx) {
		q.result = v
	}
	waiting := q.waiting
	q.waiting = nil
	q.mu.Unlock()
	for _, other := range waiting {
		r.prober.ask(other, false)
	}
	return v
}

// inconclusive reports whether the probe ended for a reason that is not the instance's.
func (v *result) inconclusive(ctx context.Context) bool {
	return v.err != nil && (ctx.Err() != nil || errors.Is(v.err, ErrNoDescriptor))
}

// rest is the part of a pause that is left after a result.
func (v *result) rest(pause time.Duration) time.Duration {
	return max(pause-time.Since(v.at), shortestPause)
}

// freshFor is how long a result replaces a new probe for an endpoint with this pause:
// less than the shortest pause that jitter makes of it.
func freshFor(pause time.Duration) time.Duration { return pause / 10 * 9 }

// ProbeStats counts probes.
type ProbeStats struct {
	// Begun so far. Shared is how often an endpoint used the result of another
	// endpoint's probe of the same address.
	Begun, Shared uint64
	// Late is how often a probe had to wait for the rate of all, Spread for the rate of
	// its job.
	Late, Spread uint64
	// Recalled counts slow probes that were ended because others needed their place.
	Recalled uint64
	// Now is the number of probes in progress.
	Now int
}

// Probes returns the counts so far.
func (r *Registry) Probes() ProbeStats {
	p := r.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	return ProbeStats{
		Begun: r.probes.begun.Load(), Shared: r.probes.shared.Load(), Late: p.late, Spread: p.spread,
		Recalled: p.recalled, Now: p.busy[usual] + p.busy[urgent] + p.busy[slow] + p.busy[ending],
	}
}

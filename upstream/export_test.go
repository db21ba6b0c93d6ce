package upstream

import (
	"net/netip"
	"time"
)

// SetReady makes e ready without a probe, for benchmarks.
func SetReady(e *Endpoint) { e.move(e.phase(), Ready, "") }

// SetState does what a probe or an ejection would do to e.
func SetState(e *Endpoint, s State) {
	e.stateMu.Lock()
	defer e.stateMu.Unlock()
	if from := e.phase(); from.state() != s && from.state() != Leaving {
		e.since.Set(time.Now())
		e.storeCause("a test said so")
		e.entered.Store(e.registry.probes.begun.Load())
		e.current.Store(uint64(from.next(s)))
		e.registry.states.moved(from.state(), s)
		e.registry.line.changed(e)
	}
}

// SetReadySince makes e look as if it had become ready then.
func SetReadySince(e *Endpoint, at time.Time) { e.since.Set(at) }

// LeftOver returns what a registry without requests must not have: bytes held by
// waiting requests, and rooms that want a place on one of the endpoints.
func LeftOver(r *Registry, endpoints []*Endpoint) (held int64, wishes int) {
	r.line.mu.Lock()
	defer r.line.mu.Unlock()
	for _, e := range endpoints {
		wishes += len(e.wishes.all)
		if e.wishes.wanted.Load() {
			wishes++
		}
	}
	return r.line.bytes.held, wishes
}

// ConnJob is what the instances of one job have of a ConnShares.
type ConnJob = *connJob

// ConnShares divides connections without making them.
type ConnShares struct {
	shares *connShares
	dialer *Dialer
}

// NewConnShares divides so many, of which requests may have seven eighths.
func NewConnShares(most int) ConnShares {
	s := newConnShares(forRequests(most))
	return ConnShares{s, &Dialer{MaxConns: most, shares: s}}
}

// Join is that of a new endpoint, which Leave undoes.
func (s ConnShares) Join(namespace, name string) ConnJob { return s.shares.join(job{namespace, name}) }
func (s ConnShares) Leave(j ConnJob)                     { s.shares.leave(j) }

// ConnHolder is for whom a connection counts.
type ConnHolder = connHolder

// Take takes a connection of a job for a client, Probe one of a probe.
func (s ConnShares) Take(j ConnJob, client netip.Addr) (ConnHolder, bool) {
	return s.dialer.take(purpose{job: j, client: client})
}
func (s ConnShares) Probe() (ConnHolder, bool) { return s.dialer.take(purpose{probe: true}) }
func (s ConnShares) Give(h ConnHolder)         { s.dialer.give(h) }

// Settle is what the registry does now and then.
func (s ConnShares) Settle() { s.shares.settle() }

// Taken returns how much is taken, and how much clients, jobs and namespaces have; Holders how many of them there
// are.
func (s ConnShares) Taken() [4]int64 {
	return [4]int64{s.dialer.conns.Taken(), s.shares.clients.Taken(), s.shares.jobs.Taken(), s.shares.namespaces.Taken()}
}
func (s ConnShares) Holders() [3]int {
	return [3]int{s.shares.clients.Holders(), s.shares.jobs.Holders(), s.shares.namespaces.Holders()}
}

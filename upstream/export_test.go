package upstream

import "time"

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

package upstream

import (
	"sync/atomic"

	"golang.org/x/time/rate"
)

// jobRate is how often the instances of one job may be probed. When a look begins, a
// part of the rate is reserved for it, until it is known whether it probes or uses
// another endpoint's result. A nil jobRate has no limit.
type jobRate struct {
	limiter  *rate.Limiter
	reserved atomic.Int64 // parts of the rate
	refs     int          // guarded by Registry.mu
}

// allows reports whether e may be looked at now. The first probe of each endpoint is
// free.
func (j *jobRate) allows(e *Endpoint) bool {
	return j == nil || !e.examined || j.limiter.Tokens()-float64(j.reserved.Load()) >= 1
}

// begin reserves a part for a look at e. The prober's mu is held, since allows.
func (j *jobRate) begin(e *Endpoint) {
	if j != nil && e.examined {
		j.reserved.Add(1)
		e.reserved = true
	}
}

// spend counts a probe of e.
func (j *jobRate) spend(e *Endpoint) {
	if e.examined {
		j.limiter.Reserve()
	}
	e.examined = true
	j.end(e)
}

// end gives back what was reserved for a look at e, if it still is.
func (j *jobRate) end(e *Endpoint) {
	if e.reserved {
		e.reserved = false
		j.reserved.Add(-1)
	}
}

package upstream

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Outcome is how a request ended on an instance, as far as it tells of the
// instance.
type Outcome struct {
	// FirstByte is the time from sending the request to the first byte of the
	// answer; 0 when there was none.
	FirstByte time.Duration
	// Status is the answer's, 0 when there was none.
	Status int
	// Failure is why the instance is to blame, empty when it is not: it closed
	// the connection before it answered, did so in the middle of an answer,
	// was too slow, or sent what is no answer.
	Failure string
}

// outlier is what the requests tell of an Endpoint. Lost updates between
// requests that end at once do not matter to it: it takes no lock until it has
// something to say.
type outlier struct {
	failures atomic.Int32 // in a row

	// The share of 5xx answers, counted in windows of outlierWindow.
	window  atomic.Int64 // Unix nanoseconds of its start
	answers atomic.Int32
	errors  atomic.Int32

	until atomic.Int64 // Unix nanoseconds of the end of the last ejection
	times atomic.Int32 // ejections without a long quiet time between them
}

const (
	outlierWindow = 10 * time.Second
	// fewAnswers in a window tell nothing about a share.
	fewAnswers = 20
	// Each ejection that follows closely is twice as long, up to this often.
	maxDoublings = 5
)

// End ends a request that Pick began on m, and learns from how it ended.
func (p *Pool) End(now time.Time, m *Member, o Outcome) {
	e := m.Endpoint
	e.end(now, o.FirstByte)
	limits := &e.registry.options
	switch {
	case o.Failure != "":
		if n := e.outlier.failures.Add(1); limits.EjectAfter > 0 && int(n) >= limits.EjectAfter {
			p.eject(now, e, fmt.Sprintf("%d failures in a row, the last one: %s", n, o.Failure))
		}
	case o.Status > 0 && e.outlier.failures.Load() > 0:
		e.outlier.failures.Store(0)
	}
	if limits.EjectShare > 0 && o.Status > 0 && e.outlier.tooManyErrors(now, o.Status, limits.EjectShare) {
		p.eject(now, e, fmt.Sprintf("more than %.0f%% of its answers are 5xx", limits.EjectShare*100))
	}
}

// tooManyErrors counts one answer and reports whether the share of 5xx among
// the window's answers is above a limit.
func (o *outlier) tooManyErrors(now time.Time, status int, share float64) bool {
	if start := o.window.Load(); now.UnixNano()-start > int64(outlierWindow) && o.window.CompareAndSwap(start, now.UnixNano()) {
		o.answers.Store(0)
		o.errors.Store(0)
	}
	answers := o.answers.Add(1)
	if status < 500 {
		return false
	}
	return float64(o.errors.Add(1)) > share*float64(answers) && answers >= fewAnswers
}

// eject takes e out of rotation for a time that doubles when it happens again
// soon. It stays when more than half of the route's members would be out: what
// is wrong with most of them is not cured by leaving them.
func (p *Pool) eject(now time.Time, e *Endpoint, cause string) {
	r := e.registry
	if current := p.room.pool.Load(); current != nil {
		p = current
	}
	if !p.canSpare(e) {
		r.ejections.spared.Add(1)
		return
	}
	if !e.outlier.begin(now, r.options.EjectTime) || !e.becomeEjected(now, cause) {
		return
	}
	r.ejections.ejected.Add(1)
	r.options.Logger.Warn("instance is ejected", "address", e.target.Address, "alloc", e.target.Instance,
		"for", time.Duration(e.outlier.until.Load()-now.UnixNano()).Round(time.Second), "cause", cause)
	e.closeIdle(now.Add(time.Hour))
	r.prober.ask(e, false)
}

// begin sets the end of an ejection that begins now, and reports whether there
// is none under way.
func (o *outlier) begin(now time.Time, base time.Duration) bool {
	last := o.until.Load()
	if now.UnixNano() < last {
		return false
	}
	times := o.times.Load()
	if now.UnixNano()-last > 2*int64(base<<min(times, maxDoublings)) {
		times = 0
	}
	if !o.until.CompareAndSwap(last, now.Add(base<<min(times, maxDoublings)).UnixNano()) {
		return false
	}
	o.times.Store(times + 1)
	o.errors.Store(0)
	o.answers.Store(0)
	return true
}

// becomeEjected makes a ready endpoint an ejected one.
func (e *Endpoint) becomeEjected(now time.Time, cause string) bool {
	if !e.state.CompareAndSwap(uint32(Ready), uint32(Ejected)) {
		return false
	}
	e.since.Store(now.UnixNano())
	e.cause.Store(&cause)
	return true
}

// canSpare reports whether at least half of the members take requests without
// e.
func (p *Pool) canSpare(e *Endpoint) bool {
	all, out := 0, 0
	for i := range p.members {
		m := &p.members[i]
		if m.Weight <= 0 {
			continue
		}
		all++
		if m.Endpoint == e || m.Endpoint.State() != Ready {
			out++
		}
	}
	return 2*out <= all
}

// readmit prepares an endpoint that a probe reached after an ejection: the
// next failure ejects it again, the next answer clears it.
func (e *Endpoint) readmit() {
	if e.outlier.until.Load() != 0 {
		e.outlier.failures.Store(int32(max(0, e.registry.options.EjectAfter-1)))
	}
}

// Ejections counts what passive observation did.
type Ejections struct {
	Ejected uint64
	// Spared counts those that were not done because too many were out.
	Spared uint64
}

// Ejections returns the counts so far.
func (r *Registry) Ejections() Ejections {
	return Ejections{r.ejections.ejected.Load(), r.ejections.spared.Load()}
}

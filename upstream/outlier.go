package upstream

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"serai/internal/history"
	"serai/wire/socket"
)

// Outcome is how a request ended on an instance, as far as it says something about the
// instance.
type Outcome struct {
	// FirstByte is the time that the instance took for the first byte of its answer, once
	// it had the request; 0 when there was none.
	FirstByte time.Duration
	// Status is the answer's status, 0 when there was none.
	Status int
	// Failure is why the instance is to blame, empty when it is not: it closed the
	// connection before or during its answer, was too slow, or sent no valid answer.
	Failure string
}

// outlier is what requests show about an Endpoint. Lost updates between requests that
// end at once do no harm, so it takes no lock until it ejects.
type outlier struct {
	failures atomic.Int32 // in a row

	// The share of 5xx answers, counted in windows of outlierWindow.
	window  socket.Moment // its start
	answers atomic.Int32
	errors  atomic.Int32

	until socket.Moment // the end of the last ejection
	times atomic.Int32  // ejections without a long quiet time between them
	// unproven says that no good answer has come since the last ejection.
	unproven atomic.Bool
}

const (
	outlierWindow = 10 * time.Second
	// Fewer answers in a window say nothing about a share.
	fewAnswers = 20
	// Each ejection that follows closely is twice as long, up to this many times.
	maxDoublings = 5
)

// End ends a request that Pick began on m, and learns from its outcome.
func (p *Pool) End(now time.Time, m *Member, o Outcome) {
	e := m.Endpoint
	// The place is given back last: it must not be handed to a waiting request if the
	// instance is ejected now.
	defer e.end(now, o.FirstByte)
	limits := &e.registry.options
	switch {
	case o.Failure != "":
		if n := e.outlier.failures.Add(1); limits.EjectAfter > 0 && int(n) >= limits.EjectAfter {
			p.eject(now, e, fmt.Sprintf("%d failures in a row, the last one: %s", n, o.Failure))
		}
	case o.Status > 0 && e.outlier.failures.Load() > 0:
		e.outlier.failures.Store(0)
	}
	if o.Status > 0 && o.Status < 500 && e.outlier.unproven.Load() && e.State() == Ready {
		e.outlier.unproven.Store(false)
	}
	if limits.EjectShare > 0 && o.Status > 0 && e.outlier.tooManyErrors(now, o.Status, limits.EjectShare) {
		p.eject(now, e, fmt.Sprintf("more than %.0f%% of its answers are 5xx", limits.EjectShare*100))
	}
}

// tooManyErrors counts one answer and reports whether the share of 5xx among the
// window's answers is above a limit.
func (o *outlier) tooManyErrors(now time.Time, status int, share float64) bool {
	if o.window.Again(now, outlierWindow) {
		o.answers.Store(0)
		o.errors.Store(0)
	}
	answers := o.answers.Add(1)
	if status < 500 {
		return false
	}
	return float64(o.errors.Add(1)) > share*float64(answers) && answers >= fewAnswers
}

// eject takes e out of rotation for a time that doubles when it happens again soon. It
// does nothing when more than half of the route's members would be out: ejecting most
// of them would not help.
func (p *Pool) eject(now time.Time, e *Endpoint, cause string) {
	r := e.registry
	if current := p.room.pool.Load(); current != nil {
		p = current
	}
	if !p.mayEject(e) {
		r.ejections.notEjected.Add(1)
		return
	}
	d, ok := e.eject(e.phase(), now, cause)
	if !ok {
		return
	}
	r.ejections.ejected.Add(1)
	r.tell(e, slog.LevelWarn, history.InstanceEjected, "instance is ejected", "for", d.Round(time.Second), "cause", cause)
	e.closeIdle(now.Add(time.Hour))
	r.prober.ask(e, false)
}

// begin records an ejection that begins now, and returns how long it lasts. The
// endpoint's stateMu is held, as for readmit.
func (o *outlier) begin(now time.Time, base time.Duration) time.Duration {
	if o.quiet(now, base) {
		o.times.Store(0)
	}
	d := base << min(o.times.Load(), maxDoublings)
	o.until.Set(now.Add(d))
	o.times.Add(1)
	o.unproven.Store(true)
	o.errors.Store(0)
	o.answers.Store(0)
	return d
}

// quiet reports whether the last ejection ended so long ago that it is forgotten: twice
// what the next one would last.
func (o *outlier) quiet(now time.Time, base time.Duration) bool {
	return now.Sub(o.until.Time()) > 2*(base<<min(o.times.Load(), maxDoublings))
}

// readmit prepares an endpoint that a probe reached: after an ejection the next failure
// ejects it again, until it has given a good answer or been quiet for long.
func (o *outlier) readmit(now time.Time, ejectAfter int, base time.Duration) {
	if o.unproven.Load() && o.quiet(now, base) {
		o.unproven.Store(false)
		o.failures.Store(0)
	}
	if o.unproven.Load() {
		o.failures.Store(int32(max(0, ejectAfter-1)))
	}
}

// mayEject reports whether at least half of the members take requests without
// e.
func (p *Pool) mayEject(e *Endpoint) bool {
	all, out := 0, 0
	for _, m := range p.members {
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

// OthersAnswer reports whether a member other than e has not failed since its last
// answer, and how many members there are now: a pool that has been published meanwhile
// has taken the place of p.
func (p *Pool) OthersAnswer(e *Endpoint) (of int, ok bool) {
	if now := p.room.pool.Load(); now != nil {
		p = now
	}
	return len(p.members), slices.ContainsFunc(p.members, func(m *Member) bool {
		return m.Endpoint != e && m.Weight > 0 && m.Endpoint.outlier.failures.Load() == 0
	})
}

// Ejections counts ejections.
type Ejections struct {
	Ejected uint64
	// Suppressed counts ejections that were skipped because too many members were out.
	Suppressed uint64
}

// Ejections returns the counts so far.
func (r *Registry) Ejections() Ejections {
	return Ejections{r.ejections.ejected.Load(), r.ejections.notEjected.Load()}
}

package upstream

import (
	"log/slog"
	"sync/atomic"
	"time"

	"serai/internal/history"
)

// State is whether an Endpoint takes new requests.
type State uint32

// A new Endpoint is Probing until it accepts a connection, or until its check passes. It
// becomes Probing again when a connect or its check fails. An Endpoint that accepts
// requests and fails them is Ejected for a while, and then Probing. It is Leaving once no
// table names it.
const (
	Probing State = iota
	Ready
	Ejected
	Leaving
)

// States counts endpoints by their state.
type States [Leaving + 1]int

// states are States that change at any moment. Those that are leaving are not counted.
type states [Leaving]atomic.Int64

func (s *states) moved(from, to State) {
	s[from].Add(-1)
	if to != Leaving {
		s[to].Add(1)
	}
}

// States returns how many endpoints are in each state. None is looked at: of tens of thousands that takes
// milliseconds.
func (r *Registry) States() (now States) {
	for s := range r.states {
		now[s] = int(r.states[s].Load())
	}
	return now
}

func (s State) String() string {
	return [...]string{"probing", "ready", "ejected", "leaving"}[s]
}

// moves are the possible next states of each state.
var moves = [...][]State{
	Probing: {Ready, Ejected, Leaving}, // reached, after or within its ejection
	Ready:   {Probing, Ejected, Leaving},
	Ejected: {Probing, Leaving}, // its ejection is over, or it cannot even be reached
	Leaving: nil,
}

// phase is one stay of an Endpoint in a State. What was begun in one phase, such as a
// probe, says nothing about the next one: every move names the phase that it ends.
type phase uint64

const stateBits = 2

func (p phase) state() State { return State(p & (1<<stateBits - 1)) }

// first reports whether p is the first phase of an Endpoint.
func (p phase) first() bool { return p>>stateBits == 0 }

// next is the phase that follows p.
func (p phase) next(s State) phase { return (p>>stateBits+1)<<stateBits | phase(s) }

func (e *Endpoint) phase() phase { return phase(e.current.Load()) }

// State returns whether the endpoint takes new requests.
func (e *Endpoint) State() State { return e.phase().state() }

// move ends a phase, and reports whether it did: another move may have come first.
// Cause is why the endpoint is not ready, empty when it is.
func (e *Endpoint) move(from phase, to State, cause string) bool {
	e.stateMu.Lock()
	defer e.stateMu.Unlock()
	return e.moveLocked(from, to, cause)
}

func (e *Endpoint) moveLocked(from phase, to State, cause string) bool {
	if e.phase() != from {
		return false
	}
	for _, s := range moves[from.state()] {
		if s == to {
			e.since.Set(time.Now())
			e.storeCause(cause)
			e.entered.Store(e.registry.probes.begun.Load())
			e.current.Store(uint64(from.next(to)))
			e.registry.states.moved(from.state(), to)
			e.registry.line.changed(e)
			return true
		}
	}
	return false
}

func (e *Endpoint) storeCause(cause string) {
	if cause == "" {
		e.cause.Store(nil)
	} else {
		e.cause.Store(&cause)
	}
}

// explain records why the endpoint is still not ready.
func (e *Endpoint) explain(p phase, cause string) {
	e.stateMu.Lock()
	defer e.stateMu.Unlock()
	if e.phase() == p {
		e.storeCause(cause)
	}
}

// reached ends the probing phase in which a successful probe was begun, and returns the
// state that follows: the endpoint is ready, unless it was lost during an ejection that
// is not over. It is false when something else ended the phase.
func (e *Endpoint) reached(from phase, now time.Time) (State, bool) {
	e.stateMu.Lock()
	defer e.stateMu.Unlock()
	o := &e.outlier
	if now.Before(o.until.Time()) {
		return Ejected, e.moveLocked(from, Ejected, "reached again, within an ejection")
	}
	if e.phase() == from {
		o.readmit(now, e.registry.options.EjectAfter, e.registry.options.EjectTime)
	}
	return Ready, e.moveLocked(from, Ready, "")
}

// eject ends a ready phase for a time that doubles when it happens again soon.
func (e *Endpoint) eject(from phase, now time.Time, cause string) (d time.Duration, ok bool) {
	e.stateMu.Lock()
	defer e.stateMu.Unlock()
	if from.state() != Ready || !e.moveLocked(from, Ejected, cause) {
		return 0, false
	}
	return e.outlier.begin(now, e.registry.options.EjectTime), true
}

// leave ends all phases.
func (e *Endpoint) leave() {
	for p := e.phase(); p.state() != Leaving && !e.move(p, Leaving, ""); p = e.phase() {
	}
}

// lost ends a phase in which requests were taken: a connect that was begun in that
// phase has shown that the endpoint cannot be reached any more.
func (e *Endpoint) lost(from phase, err error) {
	if !e.move(from, Probing, err.Error()) {
		return
	}
	e.registry.tell(e, slog.LevelDebug, history.InstanceLost, "instance is unreachable", "error", err)
	e.closeIdle(time.Now().Add(time.Hour))
	e.registry.prober.ask(e, false)
}

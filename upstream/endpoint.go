package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"serai/internal/quota"
)

// State is whether an Endpoint takes new requests.
type State uint32

// A new Endpoint is Probing until it accepts a connection, or until its check
// passes; it goes back there when it refuses one or its check fails. One that
// accepts requests and fails them is Ejected for a while, and Probing then. It
// is Leaving once no table names it.
const (
	Probing State = iota
	Ready
	Ejected
	Leaving
)

func (s State) String() string {
	return [...]string{"probing", "ready", "ejected", "leaving"}[s]
}

// Endpoint is one address and all that is known of it. It is made by a
// Registry and shared by all pools that name its Target. All methods may be
// called at the same time.
type Endpoint struct {
	target   Target
	registry *Registry
	dialer   *Dialer
	refs     int    // guarded by Registry.mu
	hash     uint64 // of Target.Instance and Address, the same on every serai

	schedule schedule
	pause    time.Duration // after the next failed try; used by look alone
	failed   int           // checks in a row; used by look alone

	// What every request writes is kept away from what it only reads.
	_        [64]byte
	inflight quota.Quota
	latency  latency
	outlier  outlier
	requests atomic.Uint64
	failures atomic.Uint64
	_        [64]byte

	wishes wishes // of those who wait for a place here

	state atomic.Uint32
	since atomic.Int64           // Unix nanoseconds of the last change of state
	cause atomic.Pointer[string] // why it is not ready, nil when it is

	mu   sync.Mutex
	idle []*Conn // last in, first out
}

// Target returns what this endpoint dials.
func (e *Endpoint) Target() Target { return e.target }

// State returns whether it takes new requests.
func (e *Endpoint) State() State { return State(e.state.Load()) }

// Inflight returns the number of requests under way.
func (e *Endpoint) Inflight() int { return int(e.inflight.Taken()) }

// setState changes the state unless the endpoint is leaving, and reports
// whether it was another one before.
func (e *Endpoint) setState(s State, cause string) bool {
	for {
		old := State(e.state.Load())
		if old == s || old == Leaving {
			return false
		}
		if e.state.CompareAndSwap(uint32(old), uint32(s)) {
			break
		}
	}
	e.since.Store(time.Now().UnixNano())
	if cause == "" {
		e.cause.Store(nil)
	} else {
		e.cause.Store(&cause)
	}
	e.registry.line.changed(e)
	return true
}

// up reports whether it takes requests where there is no better one.
func (e *Endpoint) up() bool {
	s := e.State()
	return s == Ready || s == Ejected
}

// end ends one request. ToFirstByte is 0 when there was no answer.
func (e *Endpoint) end(now time.Time, toFirstByte time.Duration) {
	e.requests.Add(1)
	if toFirstByte > 0 {
		e.latency.observe(now, toFirstByte)
	}
	e.giveBack()
}

// giveBack gives the place of one request back, to the first who waits for it.
func (e *Endpoint) giveBack() {
	e.inflight.Give(1)
	if e.wishes.wanted.Load() {
		e.registry.line.offer(e)
	}
}

// Unreachable tells that a connection could not be made: the endpoint takes no
// new request until a probe reaches it.
func (e *Endpoint) Unreachable(err error) {
	e.failures.Add(1)
	if localFailure(err) {
		return
	}
	if e.setState(Probing, err.Error()) {
		e.registry.logState(e, "instance is unreachable", err)
		e.closeIdle(time.Now().Add(time.Hour))
		e.registry.prober.ask(e, false)
	}
}

// EndpointStatus is what is known of an Endpoint at one moment.
type EndpointStatus struct {
	Target   Target
	State    State
	Since    time.Time
	Cause    string // why it is not ready
	Inflight int
	Idle     int    // connections kept for reuse
	Requests uint64 // ended so far
	Failures uint64 // connections that could not be made
	Latency  time.Duration
}

// Status returns what is known of the endpoint.
func (e *Endpoint) Status() EndpointStatus {
	e.mu.Lock()
	idle := len(e.idle)
	e.mu.Unlock()
	s := EndpointStatus{
		Target: e.target, State: e.State(), Since: time.Unix(0, e.since.Load()),
		Inflight: e.Inflight(), Idle: idle, Requests: e.requests.Load(),
		Failures: e.failures.Load(), Latency: e.latency.value(time.Now()),
	}
	if c := e.cause.Load(); c != nil {
		s.Cause = *c
	}
	return s
}

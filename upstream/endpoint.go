package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"serai/internal/quota"
	"serai/wire/socket"
)

// Endpoint is one address and all that is known about it. It is made by a Registry and
// shared by all pools that name its Target. All methods may be called concurrently.
type Endpoint struct {
	target   Target
	service  string // that it was first acquired for
	registry *Registry
	dialer   *Dialer
	refs     int    // guarded by Registry.mu
	hash     uint64 // hash of Target.Instance and Address, the same in every serai

	schedule schedule
	probed   *probed
	rate     *jobRate
	checked  *checked
	conns    *connJob

	// Only look writes these.
	failed   int    // failed checks in a row
	used     uint64 // number of the last probe whose result it has used
	examined bool   // it was probed before; read while it is in a queue
	reserved bool   // a part of its job's rate is reserved for it; set when it leaves the queue

	// Requests write the next fields. The padding keeps them on cache lines of their own,
	// apart from those that requests only read.
	_        [64]byte
	inflight quota.Quota
	latency  latency
	outlier  outlier
	requests atomic.Uint64
	failures atomic.Uint64
	_        [64]byte

	wishes wishes // rooms with requests that wait for a place here

	stateMu   sync.Mutex             // held by writers of the next fields
	current   atomic.Uint64          // the phase
	since     socket.Moment          // of the last change of state
	entered   atomic.Uint64          // number of probes begun before that change
	cause     atomic.Pointer[string] // why it is not ready, nil when it is
	suspected atomic.Bool            // a connect was given up early: the prober must test it

	lacks   atomic.Uint32          // what its last probe has lacked in Consul's mesh, a lack
	problem atomic.Pointer[string] // why the last connect failed, nil when it did not
	warned  socket.Moment          // of the last warning about a failed connect

	transport Transport // owned by the endpoint
}

// Target returns what this endpoint connects to.
func (e *Endpoint) Target() Target { return e.target }

// Transport returns the transport to its instance.
func (e *Endpoint) Transport() Transport { return e.transport }

// Inflight returns the number of requests in flight.
func (e *Endpoint) Inflight() int { return int(e.inflight.Taken()) }

// Wanted reports whether requests wait for a place that becomes free when another
// request ends. If the endpoint takes no new requests, they wait for something else.
func (e *Endpoint) Wanted() bool { return e.wishes.wanted.Load() && e.up() }

// up reports whether it takes requests if no other endpoint is better.
func (e *Endpoint) up() bool {
	s := e.State()
	return s == Ready || s == Ejected
}

// end ends one request. ToFirstByte is 0 if there was no answer.
func (e *Endpoint) end(now time.Time, toFirstByte time.Duration) {
	e.requests.Add(1)
	if toFirstByte > 0 {
		e.latency.observe(now, toFirstByte)
	}
	e.giveBack()
}

// giveBack frees the place of one request, and hands it to the first that waits for it.
func (e *Endpoint) giveBack() {
	e.inflight.Give(1)
	if e.wishes.wanted.Load() {
		e.registry.line.offer(e)
	}
}

// Unreachable records that the network path to the instance is cut: the endpoint takes
// no new request until a probe reaches it.
func (e *Endpoint) Unreachable(err error) {
	e.failures.Add(1)
	if !localFailure(err) {
		e.lost(e.phase(), err)
	}
}

// EndpointStatus describes an Endpoint at one moment.
type EndpointStatus struct {
	Target   Target
	State    State
	Since    time.Time
	Cause    string // why it is not ready
	Inflight int
	Idle     int    // connections kept for reuse
	Requests uint64 // ended so far
	Failures uint64 // failed connects
	Latency  time.Duration
	// Problem is why the last connect failed, empty when it did not.
	Problem string
	// ClosesIdle is the age at which the instance was seen to close idle connections; 0
	// when unknown.
	ClosesIdle time.Duration
}

// Status describes the endpoint.
func (e *Endpoint) Status() EndpointStatus {
	t := e.transport.Status()
	s := EndpointStatus{
		Target: e.target, Inflight: e.Inflight(), Idle: t.Idle, Requests: e.requests.Load(),
		Failures: e.failures.Load(), Latency: e.latency.value(time.Now()), ClosesIdle: t.ClosesIdle,
	}
	if p := e.problem.Load(); p != nil {
		s.Problem = *p
	}
	e.stateMu.Lock()
	defer e.stateMu.Unlock()
	s.State, s.Since = e.State(), e.since.Time()
	if c := e.cause.Load(); c != nil {
		s.Cause = *c
	}
	return s
}

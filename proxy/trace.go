package proxy

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"serai/router"
	"serai/upstream"
)

// Tracing is how requests are traced. A Tracing is used by one Proxy.
type Tracing struct {
	// Share of the requests that are recorded, 0 to 1, where nobody that is believed has
	// decided.
	Share float64
	// Parents are the clients whose traceparent decides it. The trace of any other valid
	// traceparent is continued, too.
	Parents TraceParents
	// Errors is how many requests that failed are recorded in a second, whatever the share.
	Errors int
	// Record takes a trace that is recorded, and owns it until Trace.Release. It must not
	// wait.
	Record func(*Trace)

	errors   router.Lines
	left     atomic.Uint64
	released sync.Pool // of traces that were recorded, for further requests
}

// TraceParents are clients who may decide whether a request is recorded.
type TraceParents uint8

// TrustedParents are the trusted proxies, AllParents all clients, NoParents none.
const (
	TrustedParents TraceParents = iota
	AllParents
	NoParents
)

// Trace is what is known of one request: the span of serai itself, and of what it did. It
// is filled in while the request is served, and handed to Tracing.Record at its end, or used
// for the next request of the Exchange.
type Trace struct {
	// What a request reads and writes that is not recorded comes first, and so does it in
	// TraceAttempt: with many connections it is not in the processor's cache, and as few lines
	// of it as can be are to be fetched. Here it is three of 64 bytes, up to first.Ended.

	// ids makes IDs: they are no secret, and a request that is not recorded pays for them, too.
	ids rand.PCG
	// Parent is the span that the client has named, zero for none. State is its tracestate.
	Parent SpanID
	Span   SpanID
	// Sampled says that the request was to be recorded from its beginning, and that the
	// instance was told so.
	Sampled  bool
	asked    byte // the client's flags
	random   bool
	hasWaits bool // there are Waits
	own      ownParent
	ID       TraceID

	Attempts []TraceAttempt
	first    [1]TraceAttempt // the place of the first attempt
	Waits    []TraceWait
	State    []byte

	home *Tracing

	// These are filled in when the trace is recorded.

	Begun, Ended time.Time
	Request      TraceRequest
}

func (t *Tracing) newTrace() *Trace {
	if r, ok := t.released.Get().(*Trace); ok {
		return r
	}
	r := &Trace{home: t}
	r.ids.Seed(rand.Uint64(), rand.Uint64())
	r.Attempts = r.first[:0]
	return r
}

// Release says that a trace that was recorded is not used any more: its memory is for another
// request.
func (r *Trace) Release() {
	if r.home == nil {
		return
	}
	r.forget()
	r.Request = TraceRequest{}
	r.home.released.Put(r)
}

// TraceWait is a wait before an instance was asked. What is one of the Wait constants.
type TraceWait struct {
	What         string
	Begun, Ended time.Time
}

// What a request waits for.
const (
	WaitBody     = "wait for the request body"
	WaitPolicy   = "ask for a policy"
	WaitInstance = "wait for an instance"
)

// TraceAttempt is one request to an instance, Resend how many there were before it. Connected is how long the connect took, 0 for
// none; FirstByte is the time from sending the request to the first byte of the answer, 0 if
// none came. Reason is why it failed, empty when it did not.
type TraceAttempt struct {
	Span         SpanID
	member       *upstream.Member
	Begun, Ended time.Time

	Connected, FirstByte   time.Duration
	Resend, Status         int
	Reason                 string
	Address, Alloc, Scheme string
	HTTP2                  bool
}

// Bounds of what one trace holds. Of further attempts the last one is kept, of further waits
// none. So no trace takes more than traceCost, in bytes, while its request is served: it is
// part of what the request takes of the memory that clients share.
const (
	maxTraceAttempts = 16
	maxTraceWaits    = 16
	traceCost        = 6 << 10
)

// begin begins the trace of a request. Where its head is not valid, its fields count for
// nothing.
func (t *Tracing) begin(x *Exchange, valid bool) {
	r := x.keptTrace
	if r == nil {
		r = t.newTrace()
	}
	x.trace, x.keptTrace = r, nil
	if r.Span, r.asked, r.random = (SpanID{}), 0, false; r.Parent != (SpanID{}) {
		r.Parent, r.State = SpanID{}, r.State[:0]
	}
	believed := false
	if valid = valid && x.namesTrace(); valid {
		var p traceParent
		if p, r.State, valid = x.takeTraceFields(r.State); valid {
			r.ID, r.Parent, r.asked, r.random, r.own.written = p.id, p.span, p.flags, p.flags&flagRandom != 0, false
			believed = t.Parents == AllParents || t.Parents == TrustedParents && x.trusted != nil
		}
	}
	switch {
	case believed:
		r.Sampled = r.asked&flagSampled != 0
	case valid: // whoever chose its ID must not choose this
		r.Sampled = t.takes(r.ids.Uint64())
	default:
		random := r.ids.Uint64()
		r.Sampled = t.takes(random)
		r.newID(random)
	}
}

// takes decides by a random number whether a request belongs to the share.
func (t *Tracing) takes(random uint64) bool { return float64(random>>11)/(1<<53) < t.Share }

// spanID returns the ID of serai's own span, which is made when somebody is told: most
// requests never need it.
func (r *Trace) spanID() SpanID {
	if r.Span == (SpanID{}) {
		r.Span = r.newSpanID()
	}
	return r.Span
}

// traced reports whether the request is traced by its route, if it has one.
func (x *Exchange) traced() bool { return x.Route == nil || !x.Route.Policies.Untraced() }

// TraceID returns the ID of the request's trace, and whether it has one.
func (x *Exchange) TraceID() (id TraceID, ok bool) {
	if x.trace == nil || !x.traced() {
		return id, false
	}
	return x.trace.ID, true
}

// beginAttempt records that the request is sent to m.
func (r *Trace) beginAttempt(x *Exchange, m *upstream.Member) {
	x.answer.Connected, x.answer.FirstByte = 0, 0 // also where nothing is sent
	n := len(r.Attempts)
	switch {
	case n == maxTraceAttempts:
		n--
		r.Attempts[n] = TraceAttempt{}
	case n < cap(r.Attempts):
		r.Attempts = r.Attempts[:n+1] // it is empty
	default:
		r.Attempts = append(r.Attempts, TraceAttempt{})
	}
	a := &r.Attempts[n]
	if a.Span = SpanID(r.ID[:8]); n > 0 || r.Parent != (SpanID{}) {
		a.Span = r.newSpanID()
	} // otherwise the trace is serai's own and has no other span yet: half of its ID will do
	if a.member, a.Begun = m, x.Now; x.Retries > 0 {
		a.Resend = x.Retries
	}
}

// endAttempt records what became of it. An attempt that brought an answer is the last one:
// unless the trace is recorded for certain, that is done when it is known to be.
func (r *Trace) endAttempt(x *Exchange, f *failure) {
	if f == nil && !r.Sampled {
		return
	}
	a := &r.Attempts[len(r.Attempts)-1]
	a.ended(x)
	switch {
	case f == nil:
		a.Status, a.Reason = x.Status, x.Reason
	case f.again:
		a.Status = x.answer.Head.Status
		fallthrough
	default:
		a.Reason = f.reason
	}
}

func (a *TraceAttempt) ended(x *Exchange) {
	a.Ended, a.Connected, a.FirstByte = x.Now, x.answer.Connected, x.answer.FirstByte
}

// waited records a wait.
func (r *Trace) waited(what string, begun, ended time.Time) {
	if len(r.Waits) < maxTraceWaits {
		r.Waits, r.hasWaits = append(r.Waits, TraceWait{what, begun, ended}), true
	}
}

// end records the trace if it was sampled or the request has failed, and otherwise forgets it.
func (t *Tracing) end(x *Exchange) {
	r := x.trace
	x.trace = nil
	if x.recorded(t, r) {
		x.describe(r)
		t.Record(r)
		return
	}
	r.forget()
	x.keptTrace = r
}

// forget empties a trace for the next request.
func (r *Trace) forget() {
	if len(r.Attempts) == 1 && r.Attempts[0].Ended.IsZero() { // nearly always: the rest of it is empty
		r.Attempts[0].member = nil
	} else {
		clear(r.Attempts)
	}
	r.Attempts = r.Attempts[:0]
	if r.hasWaits {
		clear(r.Waits)
		r.Waits, r.hasWaits = r.Waits[:0], false
	}
}

// recorded decides whether a trace that has ended is recorded.
func (x *Exchange) recorded(t *Tracing, r *Trace) bool {
	switch {
	case !r.Sampled && (t.Errors == 0 || !x.failed()): // nearly all
		return false
	case x.Check || !x.traced():
		return false
	case r.Sampled:
		return true
	}
	_, ok := t.errors.Take(x.Now, t.Errors)
	if !ok {
		t.left.Add(1)
	}
	return ok
}

// ErrorsLeft returns how many requests that failed were not recorded because of Errors.
func (t *Tracing) ErrorsLeft() uint64 { return t.left.Load() }

// failed reports whether serai or an instance failed the request. Of the statuses of gRPC,
// those count that OpenTelemetry takes for errors of a server.
func (x *Exchange) failed() bool {
	if status, ok := x.GRPCStatus(); ok {
		switch status {
		case 2, 4, 12, 13, 14, 15: // unknown, too late, not implemented, internal, unavailable, data lost
			return true
		}
	}
	return x.Status >= 500 || x.Reason != "" && (x.cutShort() || x.Reason == ReasonDrainTimeout.Code() || x.Reason == ReasonPanic.Code())
}

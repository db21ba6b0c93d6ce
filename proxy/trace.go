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

	own      ownParent
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

// tracing is what an exchange keeps of its trace. Nearly all requests begin a trace here, are not
// recorded, wait for nothing and are answered by the first instance: of these the random number
// is all, and no Trace is written.
type tracing struct {
	tracer    *Tracing              // nil for a request that is not traced
	random    uint64                // of the ID, while there is no trace
	trace     *Trace                // nil while there is nothing to write: see written
	keptTrace *Trace                // memory for the next one; nil for none
	sent      [traceParentSize]byte // memory of the traceparent that is sent then
}

// Trace is what is known of one request: the span of serai itself, and of what it did. It
// is filled in while the request is served, and handed to Tracing.Record at its end, or used
// for the next request of the Exchange.
type Trace struct {
	ID TraceID
	// Parent is the span that the client has named, zero for none. State is its tracestate.
	Parent SpanID
	State  []byte
	Span   SpanID
	// Sampled says that the request was to be recorded from its beginning, and that the
	// instance was told so.
	Sampled  bool
	asked    byte // the client's flags
	Attempts []TraceAttempt
	Waits    []TraceWait

	// These are filled in when the trace is recorded.

	Begun, Ended time.Time
	Request      TraceRequest

	home *Tracing
}

// written returns the request's trace, to which is to be written.
func (x *Exchange) written() *Trace {
	if x.trace == nil {
		r := x.emptyTrace()
		r.ID = newTraceID(x.tracer.own.span, x.random)
		if x.Member != nil { // it was asked first, and at once: whatever waits writes that down
			r.Attempts = append(r.Attempts, TraceAttempt{Span: x.tracer.own.span, member: x.Member, Begun: x.Start})
		}
		x.trace = r
	}
	return x.trace
}

// emptyTrace returns a trace of which nothing is known.
func (x *Exchange) emptyTrace() *Trace {
	if r := x.keptTrace; r != nil {
		x.keptTrace = nil
		return r
	}
	if r, ok := x.tracer.released.Get().(*Trace); ok {
		return r
	}
	return &Trace{home: x.tracer}
}

// Release says that a trace that was recorded is not used any more: its memory is for another
// request.
func (r *Trace) Release() {
	if r.home == nil {
		return
	}
	r.forget()
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
	x.tracer, x.trace = t, nil
	if valid && x.namesTrace() && x.continueTrace() {
		return
	}
	if x.random = rand.Uint64(); t.takes(x.random) {
		r := x.emptyTrace()
		r.Sampled = true
		r.ID = newTraceID(newSpanID(), x.random)
		x.trace = r
	}
}

// continueTrace takes the client's fields, and reports whether they name a trace, which is
// continued.
func (x *Exchange) continueTrace() bool {
	r, t := x.emptyTrace(), x.tracer
	p, state, valid := x.takeTraceFields(r.State)
	if r.State = state; !valid {
		x.keptTrace = r
		return false
	}
	r.ID, r.Parent, r.asked = p.id, p.span, p.flags
	if t.Parents == AllParents || t.Parents == TrustedParents && x.trusted != nil {
		r.Sampled = r.asked&flagSampled != 0
	} else { // whoever chose its ID must not choose this
		r.Sampled = t.takes(rand.Uint64())
	}
	x.trace = r
	return true
}

// takes decides by a random number whether a request belongs to the share.
func (t *Tracing) takes(random uint64) bool { return float64(random>>11)/(1<<53) < t.Share }

// spanID returns the ID of serai's own span, which is made when somebody is told.
func (r *Trace) spanID() SpanID {
	if r.Span == (SpanID{}) {
		r.Span = newSpanID()
	}
	return r.Span
}

// traced reports whether the request is traced by its route, if it has one.
func (x *Exchange) traced() bool { return x.Route == nil || !x.Route.Policies.Untraced() }

// TraceID returns the ID of the request's trace, and whether it has one.
func (x *Exchange) TraceID() (id TraceID, ok bool) {
	switch {
	case x.tracer == nil || !x.traced():
		return id, false
	case x.trace == nil:
		return newTraceID(x.tracer.own.span, x.random), true
	}
	return x.trace.ID, true
}

// beginAttempt records that the request is sent to m, its Member from now on.
func (x *Exchange) beginAttempt(m *upstream.Member) {
	r := x.trace
	if r == nil {
		return // see written
	}
	a := TraceAttempt{Span: newSpanID(), member: m, Begun: x.Now, Resend: x.Retries}
	if n := len(r.Attempts); n == maxTraceAttempts {
		r.Attempts[n-1] = a
	} else {
		r.Attempts = append(r.Attempts, a)
	}
}

// endAttempt records what became of it. An attempt that brought an answer is the last one:
// unless the trace is recorded for certain, that is done when it is known to be.
func (x *Exchange) endAttempt(f *failure) {
	if x.tracer == nil || f == nil && (x.trace == nil || !x.trace.Sampled) {
		return
	}
	r := x.written()
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

// waited records a wait that has ended now.
func (x *Exchange) waited(what string, began time.Time) {
	if x.tracer == nil {
		return
	}
	if r := x.written(); len(r.Waits) < maxTraceWaits {
		r.Waits = append(r.Waits, TraceWait{what, began, x.Now})
	}
}

// end records the trace if it was sampled or the request has failed, and otherwise forgets it.
func (t *Tracing) end(x *Exchange) {
	if x.recorded() {
		r := x.written()
		x.describe(r)
		t.Record(r)
	} else if r := x.trace; r != nil {
		r.forget()
		x.keptTrace = r
	}
	x.tracer, x.trace = nil, nil
}

// forget empties a trace for another request.
func (r *Trace) forget() {
	clear(r.Attempts)
	clear(r.Waits)
	*r = Trace{home: r.home, Attempts: r.Attempts[:0], Waits: r.Waits[:0], State: r.State[:0]}
}

// recorded decides whether the trace of a request that has ended is recorded.
func (x *Exchange) recorded() bool {
	t, sampled := x.tracer, x.trace != nil && x.trace.Sampled
	switch {
	case !sampled && (t.Errors == 0 || !x.failed()): // nearly all
		return false
	case x.Check || !x.traced():
		return false
	case sampled:
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

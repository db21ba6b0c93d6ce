package proxy

import (
	"serai/wire"
)

// processing is what is known of how far an attempt came at its instance. It is
// all that a retry goes by.
type processing uint8

const (
	// settled: nothing more is to be tried. An answer has begun, or the client is
	// the one who failed.
	settled processing = iota
	// notSent: not one byte of the request left for the instance.
	notSent
	// unknown: bytes of it left, and no answer came. The instance may have done
	// what was asked. A reset, the end of a connection that was idle, a missing
	// acknowledgement prove nothing: it may have read all and then reset, or
	// only the way back may be cut.
	unknown
)

// failure is why an attempt brought no answer.
type failure struct {
	status int    // what the client is told when there is no further attempt, 0 to cut the connection
	reason string // its short code
	err    error
	// processed is what the instance may have done.
	processed processing
	// blame says that the instance took the request and failed it.
	blame bool
	// counted says that a further attempt uses up one of the route's retries
	// although nothing was sent: a TLS handshake that fails is a failure of the
	// instance.
	counted bool
}

// with says what the instance may have done, and whether it is to blame.
func (f *failure) with(processed processing, blame bool) *failure {
	f.processed, f.blame = processed, blame
	return f
}

// maxNotSent bounds the attempts of a request of which nothing was sent.
const maxNotSent = 8

// mayRetry decides whether the request may be sent again, to another instance
// where there is one, and takes what that needs of the route's budget.
//
// A request of which nothing was sent puts no load on anyone: it is bound
// neither by the retries tag nor by the budget, or a node that goes down would
// fail the requests beyond it. One that an instance may have processed is sent
// again only if doing it twice is the same as doing it once, or the client or
// the route says so (RFC 9110 section 9.2.2). None is once the route's timeout is
// over.
func (p *Proxy) mayRetry(x *Exchange, f *failure) bool {
	o := x.Route.Options
	switch {
	case x.upload.streaming != nil: // part of the body is gone
		return false
	case x.timeLeft() <= 0:
		return false
	case f.processed == notSent && !f.counted:
		return x.Retries < maxNotSent
	case f.processed == settled, x.repeats >= o.Retries:
		return false
	case f.processed == unknown && !x.repeatable():
		return false
	}
	if x.repeats == 0 && !p.takeRetry(x) {
		p.Count(ReasonRetryBudget)
		return false
	}
	x.repeats++
	return true
}

// takeRetry takes a place in the budget of the route: the requests that are
// repeated are at most a share of those in flight.
func (p *Proxy) takeRetry(x *Exchange) bool {
	most := max(int64(p.options.RetryMin), int64(p.options.RetryShare*float64(x.Route.Stats.Inflight())))
	return x.Route.Stats.Retrying.Take(1, most)
}

// endRetries gives the place back.
func (x *Exchange) endRetries() {
	if x.repeats > 0 {
		x.Route.Stats.Retrying.Give(1)
		x.repeats = 0
	}
}

// repeatable reports whether the request may be processed twice: its method is
// idempotent, its client vouches for it with an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header), or the route says retry-post=on. The
// method of an upgrade says nothing of the protocol that it begins: "kubectl exec"
// runs a command with a GET.
func (x *Exchange) repeatable() bool {
	return idempotent(x.Head.Method) && !x.Upgrading() || x.Route.Options.RetryPost || len(wire.Get(x.Head.Fields, "idempotency-key")) > 0
}

// idempotent reports whether a method may be repeated (RFC 9110 section 9.2.2).
func idempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

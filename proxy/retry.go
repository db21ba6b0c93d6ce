package proxy

import (
	"serai/upstream"
	"serai/wire"
)

// maxNotSent bounds the attempts of a request of which nothing was sent.
const maxNotSent = 8

// mayRetry decides whether the request may be sent again, to another instance
// where there is one, and takes what that needs of the route's budget.
//
// A request of which nothing was sent, or that an instance has passed over since it is
// about to stop, puts no load on anyone: it is bound neither by the retries tag nor by the
// budget, or a node that goes down would fail the requests beyond it. One that was refused unprocessed is sent again
// whatever its method, but within both: the instance had its work with it. One that an
// instance may have processed is sent again only if doing it twice is the same as
// doing it once, or the client or the route says so (RFC 9110 section 9.2.2). None is
// once the route's timeout is over.
func (p *Proxy) mayRetry(x *Exchange, known upstream.Processing) bool {
	switch {
	case x.upload.taken.Load(): // part of the body is gone
		return false
	case x.timeLeft() <= 0:
		return false
	}
	switch known {
	case upstream.NotSent:
		return x.Retries < maxNotSent
	case upstream.Refused:
		return p.repeat(x, p.options.RetryShare)
	case upstream.Unknown:
		return x.repeatable() && p.repeat(x, p.shareOfOne(x))
	}
	return false
}

// repeat takes one of the route's retries, the first together with a place in the
// budget.
func (p *Proxy) repeat(x *Exchange, share float64) bool {
	if x.repeats >= x.Route.Options.Retries {
		return false
	}
	if x.repeats == 0 && !p.takeRetry(x, share) {
		p.Count(ReasonRetryBudget)
		return false
	}
	x.repeats++
	return true
}

// takeRetry takes a place in the budget of the route: the requests that are
// repeated are at most a share of those in flight.
func (p *Proxy) takeRetry(x *Exchange, share float64) bool {
	most := max(int64(p.options.RetryMin), int64(share*float64(x.Route.Stats.Inflight())))
	return x.Route.Stats.Retrying.Take(1, most)
}

// shareOfOne is the share of a route's requests in flight that may be repeated after
// their connection has ended. All that one of several instances has may be: one that dies
// fails them at once, which is no overload. Half as much is added because instances do not
// have the same number. It is not so where all fail, nor where one refuses a request: they
// have too many already.
func (p *Proxy) shareOfOne(x *Exchange) float64 {
	pool := x.Route.Pool
	if pool == nil || x.Member == nil || !pool.OthersAnswer(x.Member.Endpoint) {
		return p.options.RetryShare
	}
	return max(p.options.RetryShare, 1.5/float64(len(pool.Members())))
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

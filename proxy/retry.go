package proxy

import (
	"serai/upstream"
	"serai/wire"
)

// maxNotSent bounds the retries of a request of which nothing was sent.
const maxNotSent = 8

// mayRetry decides whether the request is sent again, to another instance if there is
// one, and takes what that needs of the route's budget.
//
// A request of which nothing was sent, or that an instance has not begun because it is
// about to stop, adds no load: neither the retries tag nor the budget limits it.
// Otherwise the loss of a node would fail the requests beyond the budget. One whose
// connection had been idle uses up one of the retries, and nothing of the budget: that it
// ends then says nothing of the load, all of a burst may meet it, and the next attempt gets
// a new connection. A request that was refused unprocessed is sent again whatever its method, but within both
// limits, since the instance had some work with it. A request that an instance may have
// processed is sent again only if processing it twice does no harm, or if the client or
// the route says so (RFC 9110 section 9.2.2). No request is sent again after the
// route's timeout.
func (p *Proxy) mayRetry(x *Exchange, known upstream.Processing, idle bool) bool {
	switch {
	case x.timeLeft() <= 0:
		return false
	case known == upstream.Answered || !x.upload.rewind(): // part of the body was used up
		return false
	}
	switch known {
	case upstream.NotSent:
		return x.Retries < maxNotSent
	case upstream.Refused:
		return p.repeat(x, p.options.RetryShare)
	case upstream.Unknown:
		switch {
		case !x.repeatable():
			return false
		case idle && x.repeatsLeft():
			x.repeats++
			return true
		}
		return p.repeat(x, p.shareOfOne(x))
	}
	return false
}

// repeat takes one of the request's retries, and a place in the route's budget if it has
// none.
func (p *Proxy) repeat(x *Exchange, share float64) bool {
	if !x.repeatsLeft() {
		return false
	}
	if !x.budgeted && !p.takeRetry(x, share) {
		p.Count(ReasonRetryBudget)
		return false
	}
	x.budgeted = true
	x.repeats++
	return true
}

// repeatsLeft reports whether the route's retries are not used up.
func (x *Exchange) repeatsLeft() bool { return x.repeats < x.Route.Options.Retries }

// takeRetry takes a place in the route's budget: the requests that are retried are at
// most a share of those in flight.
func (p *Proxy) takeRetry(x *Exchange, share float64) bool {
	most := max(int64(p.options.RetryMin), int64(share*float64(x.Route.Stats.Inflight())))
	return x.Route.Stats.Retrying.Take(1, most)
}

// shareOfOne is the share of a route's requests in flight that may be retried after
// their connection has ended. It allows all requests of one of several instances: an
// instance that dies fails them at once, and that is no overload. It may have three times
// its part, because one that hangs for a moment before it dies collects requests while the
// others answer theirs; and an only instance may have been replaced meanwhile. It does not
// apply if all instances fail, or to refused requests: then there is too much load already.
func (p *Proxy) shareOfOne(x *Exchange) float64 {
	pool := x.Route.Pool
	if pool == nil || x.Member == nil {
		return p.options.RetryShare
	}
	members, others := pool.OthersAnswer(x.Member.Endpoint)
	if !others {
		return p.options.RetryShare
	}
	return max(p.options.RetryShare, min(1, 3/float64(members)))
}

// endRetries gives the place in the budget back.
func (x *Exchange) endRetries() {
	if x.budgeted {
		x.Route.Stats.Retrying.Give(1)
	}
	x.repeats, x.budgeted = 0, false
}

// repeatable reports whether the request may be processed twice: its method is
// idempotent, the client sends an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header), or the route has retry-post=on. The
// method of an upgrade does not count, since it says nothing about the protocol that
// follows: "kubectl exec" runs a command with a GET.
func (x *Exchange) repeatable() bool {
	return idempotent(x.Head.Method) && !x.Upgrading() || x.Route.Options.RetryPost || x.keyed()
}

// keyed reports whether the instance got the client's Idempotency-Key. Without it, because
// Connection names it or request-remove does, the instance cannot know the second time. Nor
// does it with several, which are no value of this field (an Item of RFC 9651): it may take
// another one the next time, or none.
func (x *Exchange) keyed() bool {
	const key = "idempotency-key"
	if len(wire.Get(x.Head.Fields, key)) == 0 {
		return false
	}
	keys := 0
	for i := range x.request.Fields {
		if f := &x.request.Fields[i]; f.Kind != wire.Dropped && wire.EqualFold(f.Name, key) {
			if keys++; len(f.Value) == 0 {
				return false
			}
		}
	}
	return keys == 1
}

// idempotent reports whether a method is idempotent (RFC 9110 section 9.2.2).
func idempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

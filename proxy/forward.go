package proxy

import (
	"net/netip"
	"time"

	"serai/upstream"
	"serai/wire"
)

// forward sends the request to a member of the route's pool, and to further members as
// long as that is safe, and relays the answer.
func (p *Proxy) forward(x *Exchange) {
	size := x.Head.Size // as the client sent it
	x.beginWeb()
	if p.tooLong(x, size) || !p.gather(x) {
		return
	}
	x.startUpload()
	if p.tooLong(x, x.BytesIn) {
		return
	}
	x.via, x.phases.limits = p.options.Via, p.options.PolicyLimits // also of requests of serai itself
	if !x.prepared {
		x.prepare()
	}
	if p.looped(x) || p.lastHop(x) {
		return
	}
	defer x.endRetries()
	for {
		m := p.pick(x)
		if m == nil {
			return
		}
		x.Member, x.picked = m, true
		x.beginAttempt(m)
		f := p.attempt(x, m)
		x.endAttempt(f)
		x.endPick(x.outcome(f))
		if f == nil {
			return
		}
		x.tried.Add(m.Endpoint)
		if f.final || !f.again && !p.mayRetry(x, f.processed, f.idle) {
			p.fail(x, f)
			return
		}
		x.Retries++
	}
}

// tooLong answers a request whose body is longer than the route allows, and reports
// whether it did.
func (p *Proxy) tooLong(x *Exchange, size int64) bool {
	limit := x.Route.Options.MaxBody
	if limit == 0 || size <= limit {
		return false
	}
	p.answerWith(x, wire.ErrBodyTooLong.Status, wire.ErrBodyTooLong.Code, wire.ErrBodyTooLong.Detail)
	return true
}

// endPick gives the place on the member back.
func (x *Exchange) endPick(o upstream.Outcome) {
	x.picked = false
	x.Route.Pool.End(x.Now, x.Member, o)
}

// outcome is what an attempt shows about its instance.
func (x *Exchange) outcome(f *failure) upstream.Outcome {
	o := upstream.Outcome{FirstByte: x.serviceTime, Status: x.Status}
	switch {
	case f == nil:
		if x.cutShort() && !x.excused {
			o.Failure = x.Reason
		}
	case f.blame:
		o.Failure = f.reason
		if f.reason == ReasonHandshakeFailed.Code() {
			o.Failure += ": " + f.detail
		}
		if f.reason == ReasonUpstreamTimeout.Code() {
			o.FirstByte = x.Route.Options.Timeout
		}
	}
	return o
}

// cutShort reports whether the instance did not end the answer that it had begun.
func (x *Exchange) cutShort() bool {
	return x.Reason == ReasonUpstreamCut.Code() || x.Reason == ReasonUpstreamIdle.Code()
}

// fail answers a request for which no attempt succeeded.
func (p *Proxy) fail(x *Exchange, f *failure) {
	p.options.Logger.Debug("request failed", "host", string(x.Head.Host), "route", x.Route.Name,
		"alloc", x.Member.Alloc, "reason", f.reason, "error", f.detail)
	p.answerFailure(x, f)
}

// answerFailure sends the answer of a failure, or cuts the connection when the failure
// has none.
func (p *Proxy) answerFailure(x *Exchange, f *failure) {
	if f.status == 0 {
		x.Reason = f.reason
		x.Responder.Abort()
		return
	}
	p.answerWith(x, f.status, f.reason, f.detail)
}

// attempt sends the request to m once and relays the answer. Nil means that the
// exchange is over, whether it succeeded or not.
func (p *Proxy) attempt(x *Exchange, m *upstream.Member) *failure {
	a := &x.answer
	a.Connected, a.FirstByte = 0, 0 // also where nothing is sent
	request := x.upstreamRequest(p, m)
	if x.unsendable != "" {
		f := ReasonBadRewrite.failure(x.unsendable)
		f.final = true
		return f
	}
	failed := m.Endpoint.Transport().RoundTrip(request, a)
	x.Now = a.Now
	x.FirstByte, x.serviceTime = a.FirstByte, a.ServiceTime // not those of an attempt before
	if a.Connected > 0 {
		x.Connected = a.Connected
	}
	switch {
	case failed != nil:
		stillThere := x.releaseStream()
		x.endUpload()
		if !stillThere && failed.Kind > upstream.FailedHandshake { // otherwise the instance got nothing
			return x.explain(&upstream.Failure{Kind: upstream.FailedCaller, Err: errClientGone})
		}
		return x.explain(failed)
	case a.Head.Status == 101:
		x.endUpload()
		return p.tunnel(x)
	}
	if p.retriesUnavailable(x) {
		whole := x.releaseStream()
		x.Now = a.Stream.End(whole)
		x.endUpload()
		return &failure{again: true, reason: ReasonUpstreamRefused.Code()}
	}
	whole := false
	if shown := p.pageFor(x, a.Head.Status); shown != nil {
		whole = p.relayPage(x, shown)
		p.pages.release(shown)
	} else {
		whole = p.relay(x)
	}
	stillThere := x.releaseStream()
	x.Now = a.Stream.End(whole && stillThere)
	x.endUpload()
	return nil
}

// upstreamRequest makes the request that is sent to m.
func (x *Exchange) upstreamRequest(p *Proxy, m *upstream.Member) *upstream.Request {
	r := &x.attempted
	if x.Retries > 0 {
		x.upload.complete = x.upload.body.Done()
	}
	*r = upstream.Request{
		Head: x.outgoing(m), Body: &x.upload, First: x.upload.first, Complete: x.upload.complete,
		Host: x.Head.Host, Client: netip.AddrPortFrom(x.Client, x.Peer.Port()), Memory: x.Memory, Fresh: x.Retries > 0, Repeatable: x.repeatsLeft() && x.repeatable(),
		Now: x.Now, Connect: x.timeToConnect(), Answer: x.answerTimeout(), Bounds: &p.bounds, Scratch: r.Scratch,
	}
	x.upload.policies, x.upload.limit = x.Route.Policies, x.Route.Options.MaxBody // perhaps of another route than before: see moved
	x.calling = caller{proxy: p, x: x}
	r.Caller = &x.calling
	return r
}

// timeToConnect is how much of the route's timeout is left for making a connection. The
// first attempt has all of it; the wait for an instance does not count.
func (x *Exchange) timeToConnect() time.Duration {
	if x.Retries == 0 {
		return x.Route.Options.Timeout
	}
	return x.timeLeft()
}

// timeLeft is what is left of the route's timeout, over all attempts. Waits for an
// instance, for a small request body, and in policies do not count.
func (x *Exchange) timeLeft() time.Duration {
	return x.Route.Options.Timeout - (x.Now.Sub(x.Start) - x.Queued - x.Gathered - x.asked)
}

package proxy

import (
	"time"

	"serai/upstream"
)

// pick chooses a member for the next attempt and takes a place on it, and waits in the
// route's room when there is none. A retry waits for another member if all others are
// busy. It gets a member that has failed it only if there is no other, or none became
// free in time. pick answers and returns nil when there is no member, or when the
// policies of another route answer the request meanwhile.
func (p *Proxy) pick(x *Exchange) *upstream.Member {
	again := x.Retries > 0 && !x.Route.Pool.Another(x, &x.tried)
	wait := x.Route.Options.Wait
	for {
		if m := x.Route.Pool.Pick(x.Now, x, &x.tried, again); m != nil {
			return m
		}
		began := x.Now
		x.waiting.Set(began)
		m, err := x.Route.Pool.Room().Wait(wait, upstream.WaitingRequest{
			Attributes: x, Tried: &x.tried, Again: again, Holds: x.Body.Holds(), Gone: x.whenGone(),
		})
		x.waiting.Clear()
		x.Now = time.Now()
		waited := x.Now.Sub(began)
		x.Queued += waited
		x.waited(WaitInstance, began)
		wait -= waited
		switch {
		case err == nil:
			return m
		case err == upstream.ErrRoomEnded && p.moved(x):
			if p.applyRequest(x) {
				return nil
			}
		case err != upstream.ErrClientGone && x.Retries > 0 && !again:
			again, wait = true, 0
		default:
			p.noInstance(x, err)
			return nil
		}
	}
}

// moved looks the route up again after the request's route has ended or got other
// policies, which the caller then applies. So no request is lost when a team renames a
// service. A request that the tags of one team have admitted is never passed to another
// team.
func (p *Proxy) moved(x *Exchange) bool {
	if x.own {
		return false
	}
	route, _ := p.options.Router.Current().Lookup(&x.query)
	if route == nil || route == x.Route || route.Namespace != x.Route.Namespace {
		return false
	}
	if limit := route.Options.MaxBody; limit > 0 && max(x.Head.Size, x.BytesIn) > limit {
		return false
	}
	x.Route.Stats.Move(route.Stats, x.budgeted)
	x.Route = route
	return true
}

// noInstance answers a request that got no member.
func (p *Proxy) noInstance(x *Exchange, err error) {
	reason := ReasonNoInstance
	switch err {
	case upstream.ErrClientGone:
		x.cut(ReasonClientGone)
		return
	case upstream.ErrRoomFull:
		reason = ReasonQueueFull
	case upstream.ErrStopping:
		reason = ReasonStopping
	default:
		switch room := x.Route.Pool.Room(); {
		case room.NoIdentity():
			reason = ReasonNoIdentity
		case room.Refused():
			reason = ReasonConnectDenied
		}
	}
	p.logUnserved(x, reason)
	p.answer(x, reason)
}

// unservedLogInterval is the time between two log lines about one route.
const unservedLogInterval = 10 * time.Second

// logUnserved logs why a request gets 503, at most once in unservedLogInterval for each
// route.
func (p *Proxy) logUnserved(x *Exchange, reason Reason) {
	r := x.Route
	notLogged, now := r.Stats.Unserved.Take(x.Now, unservedLogInterval)
	if !now {
		return
	}
	p.options.Logger.Warn("a request is answered 503", "reason", reason.Code(), "host", printable(x.Head.Host),
		"namespace", r.Namespace, "service", r.Service, "route", r.Name, "instances", r.Pool.Room().Readiness(),
		"after", x.Now.Sub(x.Start).Round(time.Millisecond), "not_logged", notLogged)
}

// printable bounds the length of a name that a client sent. The log escapes it.
func printable(host []byte) string { return string(host[:min(len(host), 255)]) }

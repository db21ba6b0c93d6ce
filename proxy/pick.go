package proxy

import (
	"time"

	"serai/upstream"
)

// pick chooses a member for the next attempt and takes a place there, waiting in
// the route's room when there is none. A request that has been tried waits for
// another member that is busy, and is given one that has failed it only when there
// is no other, or the wait was in vain. It answers 503 and returns nil when there
// is none at all, and whatever they want where other policies answer meanwhile.
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

// moved looks the route up again when the one that was found is gone, or lets
// requests in by other policies: the caller asks these. A team that renames a service
// loses no request by it; to another team no request is handed that was let in by the
// first one's tags.
func (p *Proxy) moved(x *Exchange) bool {
	if x.fetching {
		return false
	}
	route, _ := p.options.Router.Current().Lookup(&x.query)
	if route == nil || route == x.Route || route.Namespace != x.Route.Namespace {
		return false
	}
	if limit := route.Options.MaxBody; limit > 0 && max(x.Head.Size, x.BytesIn) > limit {
		return false
	}
	x.Route.Stats.Move(route.Stats, x.repeats > 0)
	x.Route = route
	return true
}

func (p *Proxy) noInstance(x *Exchange, err error) {
	reason := ReasonNoInstance
	switch err {
	case upstream.ErrClientGone:
		x.cut(ReasonClientGone)
		return
	case upstream.ErrRoomFull:
		reason = ReasonQueueFull
	}
	p.tellUnserved(x, reason)
	p.answer(x, reason)
}

// unservedEvery is the time between two lines about one route.
const unservedEvery = 10 * time.Second

// tellUnserved logs why a request gets 503, once in a while for each route.
func (p *Proxy) tellUnserved(x *Exchange, reason Reason) {
	r := x.Route
	untold, tell := r.Stats.Tell(x.Now, unservedEvery)
	if !tell {
		return
	}
	p.options.Logger.Warn("a request is answered 503", "reason", reason.Code(), "host", printable(x.Head.Host),
		"namespace", r.Namespace, "service", r.Service, "route", r.Name, "instances", r.Pool.Room().Readiness(),
		"after", x.Now.Sub(x.Start).Round(time.Millisecond), "not_logged", untold)
}

// printable bounds what a client wrote; the log escapes it.
func printable(host []byte) string { return string(host[:min(len(host), 255)]) }

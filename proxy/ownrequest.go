package proxy

import (
	"context"
	"io"
	"strings"
	"time"

	"serai/router"
	"serai/wire"
)

// A request of serai itself, for an error page or for a policy, is an exchange like that of
// a client: it takes an instance of a pool, and is retried and counted like others. It is
// not logged, no policy answers it, and it never causes another request of serai itself.

// ownRequest makes the exchange of such a request, from a client without a name,
// through a route. If the host begins with a wildcard, label replaces it.
func ownRequest(r *router.Route, method, host, label, target string, fields []wire.Field, to Responder) *Exchange {
	if after, ok := strings.CutPrefix(host, "*"); ok {
		host = label + after
	}
	path, query, has := strings.Cut(target, "?")
	x := &Exchange{Body: noBody{}, Responder: to}
	x.Head = wire.RequestHead{
		Method: []byte(method), Target: []byte(target), Path: []byte(path), Query: []byte(query), HasQuery: has,
		Host: []byte(host), Minor: 1, KeepAlive: true, Fields: fields,
	}
	x.Start = time.Now()
	x.Now = x.Start
	x.proto = secureHTTP // so that it is not redirected to https
	x.own, x.admitted, x.logged = true, true, true
	x.Route = r
	return x
}

// serveOwn serves a request of serai itself until ctx ends, and counts it.
func (p *Proxy) serveOwn(ctx context.Context, x *Exchange) {
	defer context.AfterFunc(ctx, x.Cancel)()
	x.Route.Stats.Begin()
	x.observed = true
	p.forwardOwn(x)
	if x.observed {
		x.observe()
	}
}

// forwardOwn is forward, and contains panics.
func (p *Proxy) forwardOwn(x *Exchange) {
	defer p.contain(x)
	p.forward(x)
}

// copyRoute returns a copy of a route whose options and common parts may be changed.
func copyRoute(r *router.Route) *router.Route {
	route, common, options := *r, *r.Common, *r.Common.Options
	common.Options, route.Common = &options, &common
	return &route
}

// noBody is the body of a request without one.
type noBody struct{}

var _ Body = noBody{}

func (noBody) Next() ([]byte, error)  { return nil, io.EOF }
func (noBody) Gather() (bool, error)  { return false, nil }
func (noBody) Holds() int64           { return 1 }
func (noBody) Ready() bool            { return false }
func (noBody) Done() bool             { return true }
func (noBody) Trailers() []wire.Field { return nil }
func (noBody) Interrupt()             {}

// ownAnswer is what the Responders of serai's own requests have in common.
type ownAnswer struct{ whole bool }

// Interim implements Responder.
func (*ownAnswer) Interim(*wire.ResponseHead) error { return nil }

// Flush implements Responder.
func (*ownAnswer) Flush() error { return nil }

// Finish implements Responder.
func (a *ownAnswer) Finish([]wire.Field) error { a.whole = true; return nil }

// Abort implements Responder.
func (a *ownAnswer) Abort() { a.whole = false }

package proxy

import (
	"context"
	"io"
	"strings"
	"time"

	"serai/router"
	"serai/wire"
)

// A request of serai itself, for the page of an error or for a question of a policy, is an
// exchange as that of a client: it takes an instance of a pool, is repeated and counted as
// others are. Nobody logs it, no policy answers it, and it leads to no further one.

// ownRequest makes the exchange of such a request through a route, as the client without a
// name that asks for this target. A wildcard of the host becomes label.
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
	x.proto = secureHTTP // so that nobody redirects it to https
	x.fetching, x.admitted, x.logged = true, true, true
	x.Route = r
	return x
}

// serveOwn has the request of serai itself answered, until ctx ends, and counts it.
func (p *Proxy) serveOwn(ctx context.Context, x *Exchange) {
	defer context.AfterFunc(ctx, x.Cancel)()
	x.Route.Stats.Begin()
	x.observed = true
	p.forwardOwn(x)
	if x.observed {
		x.observe()
	}
}

// forwardOwn is forward with the end of a panic.
func (p *Proxy) forwardOwn(x *Exchange) {
	defer p.contain(x)
	p.forward(x)
}

// changed returns a copy of a route whose options and common parts can be changed.
func changed(r *router.Route) *router.Route {
	route, common, options := *r, *r.Common, *r.Common.Options
	common.Options, route.Common = &options, &common
	return &route
}

// noBody is the body of a request that has none.
type noBody struct{}

var _ Body = noBody{}

func (noBody) Next() ([]byte, error)  { return nil, io.EOF }
func (noBody) Gather() error          { return nil }
func (noBody) Holds() int64           { return 1 }
func (noBody) Ready() bool            { return false }
func (noBody) Done() bool             { return true }
func (noBody) Trailers() []wire.Field { return nil }
func (noBody) Interrupt()             {}

// ownAnswer is what Responders of requests of serai itself have in common.
type ownAnswer struct{ whole bool }

// Interim implements Responder.
func (*ownAnswer) Interim(*wire.ResponseHead) error { return nil }

// Flush implements Responder.
func (*ownAnswer) Flush() error { return nil }

// Finish implements Responder.
func (a *ownAnswer) Finish([]wire.Field) error { a.whole = true; return nil }

// Abort implements Responder.
func (a *ownAnswer) Abort() { a.whole = false }

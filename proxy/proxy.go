// Package proxy answers: how does a request get through?
//
// The life of a request: an engine parses its head into an Exchange and calls Serve. Serve
// looks up the route in the current table. Unless it answers the request itself, it picks a
// member of the route's pool, sends the head with forwarding fields and the body as it
// arrives, tries another member as long as that is safe, and passes the answer to the
// engine as it arrives.
package proxy

import (
	"fmt"
	"sync"
	"sync/atomic"

	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// Proxy forwards requests to instances and relays their answers. All methods may be
// called concurrently.
type Proxy struct {
	requestCost int64 // what RequestCost returns
	options     Options
	trusted     trustedFields
	bounds      upstream.Bounds // for every attempt
	inflight    atomic.Int64
	reasons     sync.Map // string -> *atomic.Uint64
	pages       *pages
}

// New makes a Proxy.
func New(o Options) (*Proxy, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("proxy options: %w", err)
	}
	o.setDefaults()
	b, _ := newTrustedFields(o.TrustedFields) // Validate has checked them
	bounds := upstream.Bounds{Head: o.Limits, Interim: o.MaxInterim, WriteIdle: o.WriteIdle, Splice: o.Splice}
	p := &Proxy{options: o, trusted: b, bounds: bounds, requestCost: requestCost}
	if o.Tracing != nil {
		p.requestCost += traceCost
		o.Tracing.own = newOwnParent()
	}
	p.pages = newPages(p, o.Pages)
	return p, nil
}

// Serve answers one request. When it returns, the engine has got the whole answer, or
// was told to abort it.
func (p *Proxy) Serve(x *Exchange) {
	p.inflight.Add(1)
	defer p.inflight.Add(-1)
	defer p.contain(x)
	p.identifyClient(x)
	if p.options.Tracing != nil {
		p.options.Tracing.begin(x, true)
	}
	if route := p.route(x); route != nil {
		x.Route = route
		route.Stats.Begin()
		x.observed = true
		if !p.applyRequest(x) {
			p.forward(x)
		}
		x.observe()
	}
	p.log(x)
}

// route looks the route up. If there is none, or if serai answers the request without
// one, it does that and returns nil.
func (p *Proxy) route(x *Exchange) *router.Route {
	// Load balancers use an address as the host, or none at all.
	if p.wantsReady(x) && isAddress(x.Head.Host) {
		p.serveReady(x)
		return nil
	}
	if p.answerChallenge(x) || p.misdirected(x) {
		return nil
	}
	table := p.options.Router.Current()
	query := &x.query
	*query = router.Query{Host: x.Head.Host, Method: x.Head.Method, Path: x.Head.Path, RawQuery: x.Head.Query, Attributes: x}
	route, miss := table.Lookup(query)
	if route == nil {
		p.serveUnrouted(x, table, miss)
		return nil
	}
	if route.Host == "*" && p.wantsReady(x) { // a route for every host must not hide the ready path
		p.serveReady(x)
		return nil
	}
	return route
}

// observe counts the request, which has ended, in its route's statistics.
func (x *Exchange) observe() {
	x.observed = false
	status, ok := x.GRPCStatus()
	x.Route.Stats.Observe(x.Shard, &router.Observation{
		Status: x.Status, Duration: x.Now.Sub(x.Start), BytesIn: x.BytesIn,
		BytesOut: x.BytesOut, Retries: x.Retries, Upgraded: x.Upgraded, GRPC: status, IsGRPC: ok,
	})
}

func (p *Proxy) log(x *Exchange) {
	x.logged = true
	x.blameSelf()
	if x.Reason != "" {
		p.count(x.Reason)
	}
	if p.options.Log != nil {
		p.options.Log(x)
	}
	if x.tracer != nil {
		p.options.Tracing.end(x)
	}
}

// count counts an answer of serai itself, or one that was cut off.
func (p *Proxy) count(reason string) {
	c, ok := p.reasons.Load(reason)
	if !ok {
		c, _ = p.reasons.LoadOrStore(reason, new(atomic.Uint64))
	}
	c.(*atomic.Uint64).Add(1)
}

// Count counts something that an engine ended before it was a request.
func (p *Proxy) Count(r Reason) { p.count(r.Code()) }

// Refused counts and logs a head that an engine has refused and answered. x.Head has
// what could be parsed of it.
func (p *Proxy) Refused(x *Exchange, e *wire.Error) {
	x.Client = x.Peer.Addr() // the fields of such a head are not trusted
	if p.options.Tracing != nil {
		p.options.Tracing.begin(x, false)
	}
	x.Status, x.Reason = e.Status, e.Code
	if x.Head.Host == nil {
		x.Head.Host = x.Header("host")
	}
	p.log(x)
}

// Reasons returns how many requests ended for each reason, by its code.
func (p *Proxy) Reasons() map[string]uint64 {
	counts := make(map[string]uint64)
	p.reasons.Range(func(reason, c any) bool {
		counts[reason.(string)] = c.(*atomic.Uint64).Load()
		return true
	})
	return counts
}

// Inflight returns the number of requests in flight.
func (p *Proxy) Inflight() int { return int(p.inflight.Load()) }

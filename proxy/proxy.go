// Package proxy answers: how does a request get through?
//
// The life of a request: an engine parses its head into an Exchange and calls
// Serve. Serve looks up the route in the current table, answers by itself
// where the route says so, or picks a member of the route's pool, sends the
// head with forwarding fields of its own and the body as it comes, tries
// another member while that is safe, and hands the answer back to the engine
// as it arrives.
package proxy

import (
	"fmt"
	"sync"
	"sync/atomic"

	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// Proxy carries requests to instances and answers back. All methods may be
// called at the same time.
type Proxy struct {
	options  Options
	believed believed
	bounds   upstream.Bounds // of all attempts
	inflight atomic.Int64
	reasons  sync.Map // string -> *atomic.Uint64
	pages    *pages
}

// New makes a Proxy.
func New(o Options) (*Proxy, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("proxy options: %w", err)
	}
	o.setDefaults()
	b, _ := newBelieved(o.TrustedFields) // Validate has tried
	bounds := upstream.Bounds{Head: o.Limits, Interim: o.MaxInterim, WriteIdle: o.WriteIdle, Splice: o.Splice}
	p := &Proxy{options: o, believed: b, bounds: bounds}
	p.pages = newPages(p, o.Pages)
	return p, nil
}

// Serve answers one request. When it returns, the answer has been handed to
// the engine whole, or been aborted.
func (p *Proxy) Serve(x *Exchange) {
	p.inflight.Add(1)
	defer p.inflight.Add(-1)
	defer p.contain(x)
	p.identifyClient(x)
	// Balancers check an address, or name no host at all.
	if p.wantsReady(x) && isAddress(x.Head.Host) {
		p.serveReady(x)
		p.log(x)
		return
	}
	if p.validated(x) || p.misdirected(x) {
		p.log(x)
		return
	}
	table := p.options.Router.Current()
	query := &x.query
	*query = router.Query{Host: x.Head.Host, Method: x.Head.Method, Path: x.Head.Path, RawQuery: x.Head.Query, Attributes: x}
	route, miss := table.Lookup(query)
	if route == nil {
		p.serveUnrouted(x, table, miss)
		p.log(x)
		return
	}
	if route.Host == "*" && p.wantsReady(x) { // no route for any host is to hide it
		p.serveReady(x)
		p.log(x)
		return
	}
	x.Route = route
	route.Stats.Begin()
	x.observed = true
	if !p.applyRequest(x) {
		p.forward(x)
	}
	x.observe()
	p.log(x)
}

// observe counts the request, which has ended, for its route.
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
	if x.Reason != "" {
		p.count(x.Reason)
	}
	if p.options.Log != nil {
		p.options.Log(x)
	}
}

// count counts one answer of serai itself, or one cut answer.
func (p *Proxy) count(reason string) {
	c, ok := p.reasons.Load(reason)
	if !ok {
		c, _ = p.reasons.LoadOrStore(reason, new(atomic.Uint64))
	}
	c.(*atomic.Uint64).Add(1)
}

// Count counts what an engine ended before it was a request.
func (p *Proxy) Count(r Reason) { p.count(r.Code()) }

// Refused counts and logs a head that an engine refused and answered. Of x.Head
// there is what could be parsed.
func (p *Proxy) Refused(x *Exchange, e *wire.Error) {
	x.Client = x.Peer.Addr() // the fields of such a head are not believed
	x.Status, x.Reason = e.Status, e.Code
	if x.Head.Host == nil {
		x.Head.Host = x.Header("host")
	}
	p.log(x)
}

// Reasons returns how many requests each short code ended.
func (p *Proxy) Reasons() map[string]uint64 {
	counts := make(map[string]uint64)
	p.reasons.Range(func(reason, c any) bool {
		counts[reason.(string)] = c.(*atomic.Uint64).Load()
		return true
	})
	return counts
}

// Inflight returns the number of requests under way.
func (p *Proxy) Inflight() int { return int(p.inflight.Load()) }

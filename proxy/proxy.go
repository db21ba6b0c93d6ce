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
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// Options is what a Proxy needs. Zero values mean the defaults named.
type Options struct {
	// Router has the current table. Required.
	Router *router.Router
	// TrustedProxies are the peers whose X-Forwarded-For and -Proto are
	// believed. TrustedFields are further fields of theirs that are sent on: see
	// docs/forwarding.md.
	TrustedProxies []netip.Prefix
	TrustedFields  []string
	// ReadyPath is answered by serai itself where no route takes it, empty
	// for none. Ready says whether with 200 or with 503.
	ReadyPath string
	Ready     func() bool
	// Shares reports whether a request for a host may come over a TLS
	// connection that was opened for a server name; nil allows all. With
	// SharesPlain it is asked about plain HTTP, too.
	Shares      func(secure bool, serverName, host string) bool
	SharesPlain bool
	// Challenge answers a CA's validation of a host at a path; nil for none.
	Challenge func(host, path string) (answer string, ok bool)
	// Limits bound the heads of answers; wire.DefaultLimits when zero.
	Limits wire.Limits
	// MaxInterim bounds the 1xx answers before the final one, 64.
	MaxInterim int
	// Via is the name that serai gives itself in Via fields; empty sends none.
	Via string
	// MaxHops bounds how often a request may pass serai, 8.
	MaxHops int
	// RetryShare bounds the retries of a route by the share of its requests in
	// flight, 0.2; at least RetryMin of them, 3, are always allowed, and what one of
	// several instances has.
	RetryShare float64
	RetryMin   int
	// RequestBodyIdle bounds each wait for more of a request's body, 30s.
	RequestBodyIdle time.Duration
	// WriteIdle bounds each wait for the instance to take more, 30s; with Splice
	// the client's, too.
	WriteIdle time.Duration
	// TunnelIdle bounds the silence of a tunnel, 1h.
	TunnelIdle time.Duration
	// Splice moves bodies of a MiB and more within the kernel where both sides
	// are plain TCP.
	Splice bool
	// PolicyLimits bound what policies make of messages; nil for the defaults.
	PolicyLimits *policy.Limits
	// Pages bound the error pages.
	Pages PageOptions
	// Log gets every ended exchange; nil for none. It must not keep it.
	Log func(*Exchange)
	// Logger gets what an operator must know; nil discards it.
	Logger *slog.Logger
}

// Validate reports all that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Router == nil {
		errs = append(errs, errors.New("router is missing"))
	}
	if o.ReadyPath != "" && !strings.HasPrefix(o.ReadyPath, "/") {
		errs = append(errs, fmt.Errorf("ready path %q does not start with a slash", o.ReadyPath))
	}
	if _, err := newBelieved(o.TrustedFields); err != nil {
		errs = append(errs, err)
	}
	if o.Via != "" && !validVia(o.Via) {
		errs = append(errs, fmt.Errorf("name %q for Via is not a token of letters, digits and dashes", o.Via))
	}
	if o.TunnelIdle < 0 {
		errs = append(errs, fmt.Errorf("tunnel idle timeout %v is negative", o.TunnelIdle))
	}
	if o.MaxHops < 0 {
		errs = append(errs, fmt.Errorf("max hops %d is negative", o.MaxHops))
	}
	if o.MaxInterim < 0 {
		errs = append(errs, fmt.Errorf("limit of 1xx answers %d is negative", o.MaxInterim))
	}
	if err := o.Pages.validate(); err != nil {
		errs = append(errs, err)
	}
	if o.RetryShare < 0 || o.RetryShare > 1 {
		errs = append(errs, fmt.Errorf("retry share %v is not between 0 and 1", o.RetryShare))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	setDefault(&o.Limits, wire.DefaultLimits())
	setDefault(&o.MaxInterim, 64)
	setDefault(&o.MaxHops, 8)
	setDefault(&o.RetryShare, 0.2)
	setDefault(&o.RetryMin, 3)
	setDefault(&o.RequestBodyIdle, 30*time.Second)
	setDefault(&o.WriteIdle, 30*time.Second)
	setDefault(&o.TunnelIdle, time.Hour)
	if o.Ready == nil {
		o.Ready = func() bool { return true }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

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

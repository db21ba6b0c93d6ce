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

	"serai/proxy/wire"
	"serai/router"
	"serai/upstream"
)

// Options is what a Proxy needs. Zero values mean the defaults named.
type Options struct {
	// Router has the current table. Required.
	Router *router.Router
	// TrustedProxies are the peers whose forwarding fields are believed.
	TrustedProxies []netip.Prefix
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
	// MaxInterim bounds the 1xx answers before the final one, 16.
	MaxInterim int
	// RetryShare bounds the retries by the share of the requests in flight,
	// 0.2; at least RetryMin of them, 3, are always allowed.
	RetryShare float64
	RetryMin   int
	// RequestBodyIdle bounds each wait for more of a request's body, 30s.
	RequestBodyIdle time.Duration
	// WriteIdle bounds each wait for the instance to take more, 30s; with Splice
	// the client's, too.
	WriteIdle time.Duration
	// Splice moves bodies of a MiB and more within the kernel where both sides
	// are plain TCP.
	Splice bool
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
	if o.RetryShare < 0 || o.RetryShare > 1 {
		errs = append(errs, fmt.Errorf("retry share %v is not between 0 and 1", o.RetryShare))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	setDefault(&o.Limits, wire.DefaultLimits())
	setDefault(&o.MaxInterim, 16)
	setDefault(&o.RetryShare, 0.2)
	setDefault(&o.RetryMin, 3)
	setDefault(&o.RequestBodyIdle, 30*time.Second)
	setDefault(&o.WriteIdle, 30*time.Second)
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
	inflight atomic.Int64
	retrying atomic.Int64
	reasons  sync.Map // string -> *atomic.Uint64
}

// New makes a Proxy.
func New(o Options) (*Proxy, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("proxy options: %w", err)
	}
	o.setDefaults()
	return &Proxy{options: o}, nil
}

// Serve answers one request. When it returns, the answer has been handed to
// the engine whole, or been aborted.
func (p *Proxy) Serve(x *Exchange) {
	p.inflight.Add(1)
	defer p.inflight.Add(-1)
	p.identifyClient(x)
	// Balancers check an address; no route for any host is to hide it.
	if p.wantsReady(x) && isAddress(x.Head.Host) {
		p.serveReady(x)
		p.log(x)
		return
	}
	if p.validated(x) || p.misdirected(x) {
		p.log(x)
		return
	}
	query := &x.query
	*query = router.Query{Host: x.Head.Host, Method: x.Head.Method, Path: x.Head.Path, RawQuery: x.Head.Query, Attributes: x}
	route, miss := p.options.Router.Current().Lookup(query)
	if route == nil {
		p.serveUnrouted(x, miss)
		p.log(x)
		return
	}
	x.Route = route
	route.Stats.Begin()
	if r := route.Options.Redirect; r != nil {
		p.redirect(x, r)
	} else {
		p.forward(x)
	}
	route.Stats.Observe(x.Shard, &router.Observation{
		Status: x.Status, Duration: x.Now.Sub(x.Start), BytesIn: x.BytesIn,
		BytesOut: x.BytesOut, Retries: x.Retries, Upgraded: x.Upgraded,
	})
	p.log(x)
}

func (p *Proxy) log(x *Exchange) {
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

// Refused counts a request that an engine refused before it was one.
func (p *Proxy) Refused(reason string) { p.count(reason) }

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

// pick chooses a member for the next attempt, waiting in the route's room when
// none may take the request. It answers 503 and returns nil when the wait was
// in vain.
func (p *Proxy) pick(x *Exchange) *upstream.Member {
	pool := x.Route.Pool
	var deadline time.Time
	for {
		if m := pool.Pick(x.Now, x, &x.tried, x.Retries > 0); m != nil {
			return m
		}
		if deadline.IsZero() {
			deadline = x.Now.Add(x.Route.Options.Wait)
			defer func(began time.Time) { x.Queued += x.Now.Sub(began) }(x.Now)
		}
		x.waiting.Set(x.Now)
		next, err := pool.Room().Wait(time.Until(deadline), x.holds(), x.whenGone())
		x.waiting.Clear()
		x.Now = time.Now()
		if err == upstream.ErrRoomEnded && p.moved(x) {
			pool = x.Route.Pool
			continue
		}
		if err != nil {
			p.noInstance(x, err)
			return nil
		}
		pool = next
	}
}

// moved looks the route up again when the one that was found is gone. A team
// that renames a service loses no request by it; to another team no request is
// handed that was let in by the first one's tags.
func (p *Proxy) moved(x *Exchange) bool {
	route, _ := p.options.Router.Current().Lookup(&x.query)
	if route == nil || route == x.Route || route.Namespace != x.Route.Namespace || route.Options.Redirect != nil {
		return false
	}
	if limit := route.Options.MaxBody; limit > 0 && x.Head.Size > limit {
		return false
	}
	x.Route = route
	return true
}

func (p *Proxy) noInstance(x *Exchange, err error) {
	switch err {
	case upstream.ErrClientGone:
		x.cut("client-gone")
	case upstream.ErrRoomFull:
		p.answer(x, 503, "queue-full", "too many requests wait for an instance of this service")
	default:
		p.answer(x, 503, "no-instance", "no instance of this service is ready")
	}
}

// Package admin answers: is it well, and what does it know?
//
// It serves health, readiness, metrics, and what the router and the endpoints
// know, for people, load balancers and scrapers. It changes nothing, and
// answers only those who ask for an address or for localhost.
package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"serai/internal/memory"
	"sync/atomic"
	"time"

	"serai/claims"
	"serai/discovery"
	"serai/front"
	"serai/proxy"
	"serai/proxy/http2"
	"serai/router"
	"serai/tls"
	"serai/upstream"
)

// Reporter is a source that tells how it is, as each discovery.Source does.
// Status may be called at any time and is cheap.
type Reporter interface{ Status() []discovery.Status }

// Listener is one traffic listener.
type Listener struct {
	// Name tells it from the others: "http", "https".
	Name   string
	Status func() front.Status
}

// Options is what is reported on.
type Options struct {
	Router   *router.Router     // required
	Registry *upstream.Registry // required
	Proxy    *proxy.Proxy       // required
	// Sources are where the services come from.
	Sources []Reporter
	// Listeners take the requests.
	Listeners []Listener
	// Clients tells how many connections of clients are open, of all listeners,
	// and how many may be; nil when nobody counts them.
	Clients func() (open, limit int)
	// Certificates answer the TLS listeners; nil when there is none. Obtain
	// obtains them; nil when none is.
	Certificates *tls.Store
	Obtain       Obtainer
	// Claims tells of the record of contested claims; nil when there is none.
	Claims func() claims.Status
	// AccessLogDropped counts lost lines; nil when there is no access log.
	AccessLogDropped func() uint64
	// Memory is what clients may take, nil for no limit.
	Memory *memory.Budget
	// HTTP2 tells of the clients that speak it; nil when none can.
	HTTP2 func() http2.Status
	// Version is shown as it stands.
	Version string
	// Logger gets what goes wrong while metrics are read; nil discards it.
	Logger *slog.Logger
}

// Validate reports all that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Router == nil {
		errs = append(errs, errors.New("router is missing"))
	}
	if o.Registry == nil {
		errs = append(errs, errors.New("registry is missing"))
	}
	if o.Proxy == nil {
		errs = append(errs, errors.New("proxy is missing"))
	}
	names := make(map[string]bool)
	for _, l := range o.Listeners {
		if names[l.Name] {
			errs = append(errs, fmt.Errorf("two listeners are called %q", l.Name))
		}
		if names[l.Name] = true; l.Status == nil {
			errs = append(errs, fmt.Errorf("status of listener %q is missing", l.Name))
		}
	}
	return errors.Join(errs...)
}

// Admin tells what it is asked. All methods may be called at the same time.
type Admin struct {
	options   Options
	published atomic.Bool
	draining  atomic.Bool
	metrics   *metrics
}

// New makes an Admin.
func New(o Options) (*Admin, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("admin options: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Admin{options: o}
	a.metrics = newMetrics(&a.options)
	return a, nil
}

// Published tells of a table that was made from s, and how long that took.
func (a *Admin) Published(s *discovery.Snapshot, took time.Duration) {
	a.metrics.published(s, took)
	// A source's status is ahead of the table that has its services: with
	// several sources only a whole snapshot says that all are in.
	if !s.Partial {
		a.published.Store(true)
	}
}

// NomadRequest counts a request made to Nomad. It is a
// nomad.Options.OnRequest.
func (a *Admin) NomadRequest(kind string, err error) {
	a.metrics.nomad.WithLabelValues(label(kind), outcome(err)).Inc()
}

// Drain makes Ready false from now on.
func (a *Admin) Drain() { a.draining.Store(true) }

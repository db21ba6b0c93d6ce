// Package admin answers: is serai healthy, and what does it know?
//
// It serves health, readiness, metrics, and the state of the router and of the
// endpoints, for people, load balancers and scrapers. It changes nothing but the level of the log, and answers
// only requests whose Host is an IP address or localhost.
package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"serai/admin/ui"
	"serai/claims"
	"serai/discovery"
	"serai/front"
	"serai/internal/coding"
	"serai/internal/history"
	"serai/internal/memory"
	"serai/internal/quota"
	"serai/mesh"
	"serai/policy"
	"serai/policy/auth/oidc"
	"serai/proxy"
	"serai/proxy/http2"
	"serai/router"
	"serai/tls"
	"serai/tracing"
	"serai/upstream"
	"serai/wire"
)

// Reporter is a source that reports its state, like each discovery.Source. Status may
// be called at any time and is cheap.
type Reporter interface{ Status() []discovery.Status }

// Listener is one traffic listener.
type Listener struct {
	// Name identifies it: "http", "https".
	Name   string
	Status func() front.Status
}

// Options are the parts that Admin reports on.
type Options struct {
	Router   *router.Router     // required
	Registry *upstream.Registry // required
	Proxy    *proxy.Proxy       // required
	// Limits are those of the heads of requests, which an explanation applies, too; zero for the defaults.
	Limits wire.Limits
	// Sources are the sources of services.
	Sources []Reporter
	// Listeners are the traffic listeners.
	Listeners []Listener
	// Clients returns how many client connections are open, on all listeners, and how
	// many may be; nil when they are not counted.
	Clients func() (open, limit int)
	// Certificates are used by the TLS listeners; nil when there are none. Obtain
	// obtains them; nil when none are obtained.
	Certificates *tls.Store
	Obtain       Obtainer
	// Claims returns the state of the record of contested claims; nil when there is
	// none.
	Claims func() claims.Status
	// Mesh returns serai's place in Consul's mesh; nil when it has none.
	Mesh func() mesh.Status
	// Config returns the state of the config file; nil when there is none.
	Config func() ConfigStatus
	// Auths describes what auths share, and each; nil where there can be none.
	Auths func() AuthStatus
	// FieldsOmitted counts fields that were left out because of their length; nil where they
	// are not counted.
	FieldsOmitted func() uint64
	// Tokens describes the tokens and keys of jwt auths; nil where there can be none.
	Tokens func() TokenStatus
	// AccessLogDropped counts lost lines, AccessLogSkipped those about refused requests
	// that were left out; nil when there is no access log.
	AccessLogDropped, AccessLogSkipped func() uint64
	// LogDropped counts lost lines of serai's own log; nil when they are not counted.
	LogDropped func() uint64
	// Memory is the limit of client memory, nil for no limit.
	Memory *memory.Budget
	// Registrations says how much of its limits discovery keeps; nil when it has none.
	Registrations func() []discovery.StoreStatus
	// Rates describes the rate limits of routes; nil when there are none.
	Rates func() policy.RateStatus
	// Compression describes how answers are compressed; nil when they are not.
	Compression func() coding.Status
	// Logins describes the users who log in at a provider; nil when nobody can.
	Logins func() oidc.Status
	// LoginProblems says what keeps users from that, nil where there can be nothing.
	LoginProblems func() []string
	// HTTP2 describes HTTP/2 clients; nil when HTTP/2 is not served.
	HTTP2 func() http2.Status
	// History has the last decisions; nil when they are not kept.
	History *history.Ring
	// LastStopCut is how many requests the serai before this one cut off when it stopped;
	// nil when that is not known.
	LastStopCut *int
	// MetricsRoutes bounds the routes that have series of their own at /metrics; 0 means
	// 20,000.
	MetricsRoutes int
	// Traces says what became of traces, and Exemplars returns some that stand for the
	// durations at /metrics; nil when nothing is traced.
	Traces    func() tracing.Status
	Exemplars func() []tracing.Exemplar
	// LogLevel is the level of the log, which may be changed; nil where it may not.
	LogLevel *slog.LevelVar
	// Version is shown unchanged, and so is Name, which identifies this serai among others.
	Version, Name string
	// MaxFollowers bounds the requests that follow answers, 16 if zero.
	MaxFollowers int
	// MaxMemory bounds the bytes that answers hold until they are sent, 32 MiB if zero. They are part
	// of Memory.
	MaxMemory int64
	// Access says who may read all of this.
	Access Access
	// MadeRoom counts connections to the admin that were ended so that others have room;
	// nil where they are not counted.
	MadeRoom func() uint64
	// Logger gets errors while metrics are read; nil discards them.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the options at once.
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
	if o.MaxMemory < 0 {
		errs = append(errs, fmt.Errorf("memory of answers: %d is negative", o.MaxMemory))
	}
	if o.MetricsRoutes < 0 {
		errs = append(errs, fmt.Errorf("routes with series of their own: %d is negative", o.MetricsRoutes))
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

// Admin answers requests for the state. All methods may be called concurrently.
type Admin struct {
	options   Options
	published atomic.Bool // with what all sources know
	partly    atomic.Bool // with what some know
	draining  atomic.Bool
	metrics   *metrics
	pulse     pulse
	ui        *ui.Pages
	// followers follow answers; others were refused.
	followers        quota.Quota
	followersRefused atomic.Uint64
	followed         followedAnswers
	profiles         quota.Quota // that are being taken; others were refused
	profilesRefused  atomic.Uint64
	gate             *gate
	listed           atomic.Pointer[listing] // the last one that was asked for; nil for none
	counts           atomic.Pointer[tableCounts]
	denied           [denialCount]atomic.Uint64
}

// New makes an Admin.
func New(o Options) (*Admin, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("admin options: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	pages, err := ui.New()
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if o.Limits == (wire.Limits{}) {
		o.Limits = wire.DefaultLimits()
	}
	a := &Admin{options: o, ui: pages, gate: newGate(o.MaxMemory, o.Memory)}
	if o.MaxFollowers == 0 {
		a.options.MaxFollowers = maxFollowers
	}
	a.metrics = newMetrics(&a.options, &a.draining)
	a.metrics.registry.MustRegister(ownMetrics{a})
	return a, nil
}

// Published records that a table was made from s, and how long that took.
func (a *Admin) Published(s *discovery.Snapshot, took time.Duration) {
	a.metrics.published(s, took)
	// A source's status is ahead of the table that has its services: with several
	// sources only a whole snapshot shows that the table has all of them.
	a.partly.Store(true)
	if !s.Partial {
		a.published.Store(true)
	}
}

// NomadRequest counts a request made to Nomad. It is a
// nomad.Options.OnRequest.
func (a *Admin) NomadRequest(kind string, err error) {
	a.metrics.nomad.WithLabelValues(label(kind), outcome(err)).Inc()
}

// ConsulRequest counts a request made to Consul. It is a consul.Options.OnRequest.
func (a *Admin) ConsulRequest(kind string, err error) {
	a.metrics.consul.WithLabelValues(label(kind), outcome(err)).Inc()
}

// Drain makes Ready false from now on.
func (a *Admin) Drain() { a.draining.Store(true) }

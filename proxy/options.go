package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"serai/policy"
	"serai/router"
	"serai/wire"
)

// Options are the options of a Proxy. Zero values mean the defaults given here.
type Options struct {
	// Router has the current table. Required.
	Router *router.Router
	// TrustedProxies are the peers whose X-Forwarded-For and -Proto are accepted.
	// TrustedFields are further fields that are accepted from them: see
	// docs/forwarding.md.
	TrustedProxies []netip.Prefix
	TrustedFields  []string
	// ReadyPath is answered by serai itself unless a route takes it; empty for none.
	// Ready decides whether the answer is 200 or 503.
	ReadyPath string
	Ready     func() bool
	// Shares reports whether a TLS connection that was opened for a server name may
	// carry requests for a host; nil allows all. With SharesPlain it is also called for
	// plain HTTP.
	Shares      func(secure bool, serverName, host string) bool
	SharesPlain bool
	// Challenge answers a CA's validation of a host at a path; nil for none.
	Challenge func(host, path string) (answer string, ok bool)
	// Limits bound the heads of answers; zero means wire.DefaultLimits.
	Limits wire.Limits
	// MaxInterim bounds the number of 1xx answers before the final one, 64.
	MaxInterim int
	// Via is serai's name in Via fields; empty sends none.
	Via string
	// MaxHops bounds how often a request may pass serai, 8.
	MaxHops int
	// RetryShare bounds the retries of a route, as a share of its requests in flight,
	// 0.2. RetryMin retries, 3, are always allowed, and as many as one of several
	// instances has requests.
	RetryShare float64
	RetryMin   int
	// RequestBodyIdle bounds each wait for more of a request's body, 30s.
	RequestBodyIdle time.Duration
	// WriteIdle bounds each wait for the instance to accept more, 30s; with Splice also
	// for the client.
	WriteIdle time.Duration
	// TunnelIdle bounds how long a tunnel may be silent, 1h.
	TunnelIdle time.Duration
	// Splice moves bodies of at least 1 MiB within the kernel if both sides are plain
	// TCP.
	Splice bool
	// PolicyLimits bound what policies make of messages; nil for the defaults.
	PolicyLimits *policy.Limits
	// Pages bound the error pages.
	Pages PageOptions
	// Tracing traces requests; nil traces none, and leaves the fields of traces alone.
	Tracing *Tracing
	// Log is called with every exchange that has ended, and must not keep it; nil for
	// none.
	Log func(*Exchange)
	// Logger gets what an operator must know; nil discards it.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Router == nil {
		errs = append(errs, errors.New("router is missing"))
	}
	if o.ReadyPath != "" && !strings.HasPrefix(o.ReadyPath, "/") {
		errs = append(errs, fmt.Errorf("ready path %q does not start with a slash", o.ReadyPath))
	}
	if _, err := newTrustedFields(o.TrustedFields); err != nil {
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

// Package acme answers: how do the routes' hosts get certificates?
//
// All serai of a cluster share one certstore.Store. Each mirrors the certificates in it
// into its SNI table; one of them, the leader, orders and renews with certmagic; and
// each can answer a CA's validation, because the tokens are in the store, too. No
// handshake ever waits for any of this.
package acme

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"serai/internal/history"
	"serai/internal/sleep"
	"serai/tls"
	"serai/tls/certstore"
)

// LetsEncrypt is the default directory.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Options are the options of an Issuer. Zero values mean the defaults given here.
type Options struct {
	// Store has certificates, accounts, tokens and the leader's lock. Required.
	Store certstore.Store
	// Sealer seals the keys in the store; nil leaves them readable to everybody who may
	// read the store.
	Sealer *certstore.Sealer
	// Local keeps a copy of the certificates, for a start while the store is
	// unreachable; nil keeps none.
	Local *certstore.Directory
	// Certificates gets the certificates of the store. Required.
	Certificates *tls.Store
	// Name is this serai's name, which others see when it leads. Required.
	Name string

	// Email is the account's contact. Without it nothing is ordered, and this serai
	// only shares the session tickets' keys and the certificates that others ordered.
	Email string
	// Directory is the URL of the CA's directory, LetsEncrypt when empty.
	Directory string
	// CARoots reads the roots that verify the certificate of the CA's server, for each
	// connection; nil means the system's roots.
	CARoots func() (*x509.CertPool, error)
	// KeyID and MACKey bind the account to an external account of the CA (RFC 8555
	// section 7.3.4); empty for none. MACKey is base64url or base64, with or without
	// padding, as CAs show it.
	KeyID, MACKey string
	// HTTPAddress and TLSAddress are the listeners where the CA's validations arrive;
	// when one is empty, its kind of validation is not offered.
	HTTPAddress, TLSAddress string

	// Hosts returns the hosts whose routes want a certificate, exact names,
	// sorted. Required with Email.
	Hosts func() []Host
	// Wants reports whether a host is one of these. Required with Email.
	Wants func(host string) bool
	// Allowed are the patterns of hosts for which certificates may be ordered: names,
	// "*.example.org" for all names below it, "*" for all, which is the default.
	Allowed []string

	// Limits are the CA's limits, and one namespace's part of them.
	Limits Limits

	// Peers lists the serai that may receive the CA's validations: no order begins
	// before each has answered one. Nil skips this.
	Peers func(context.Context) ([]Peer, error)
	// PeerWait is how long orders wait for serai that do not answer, since the last
	// answer, start or end of a serai, 5m; at most 24 times as long in all.
	PeerWait time.Duration

	// Read is called once certificates have been read for the first time, from this
	// node's copy or from the store; nil for no call.
	Read func()

	// Workers bounds the orders in progress, 8.
	Workers int
	// FirstRetry is the wait after the first failure of a host, 15s; each further
	// failure makes it four times as long, up to 6h.
	FirstRetry time.Duration
	// OrderTimeout bounds one order, 3m.
	OrderTimeout time.Duration
	// TicketLife is how often the key of session tickets changes, 12h. With a negative
	// value no keys are shared.
	TicketLife time.Duration
	// Logger gets each order and each problem; nil discards them.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	if o.Store == nil || o.Certificates == nil {
		errs = append(errs, errors.New("store or certificates are missing"))
	}
	if o.Email != "" {
		if o.Hosts == nil || o.Wants == nil {
			errs = append(errs, errors.New("hosts or wants is missing"))
		}
		if o.HTTPAddress == "" && o.TLSAddress == "" {
			errs = append(errs, errors.New("no listener can answer the CA's validations"))
		}
		if !strings.Contains(o.Email, "@") {
			errs = append(errs, fmt.Errorf("email %q is no address", o.Email))
		}
	}
	if u, err := url.Parse(o.Directory); o.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		errs = append(errs, fmt.Errorf("directory %q is no https URL", o.Directory))
	}
	if (o.KeyID == "") != (o.MACKey == "") {
		errs = append(errs, errors.New("an external account wants both its key ID and its MAC key"))
	}
	if _, err := decodeMAC(o.MACKey); err != nil {
		errs = append(errs, err)
	}
	for _, p := range o.Allowed {
		if name := strings.TrimPrefix(p, "*."); p != "*" && (name == "" || strings.ContainsAny(name, "*:/ ")) {
			errs = append(errs, fmt.Errorf("pattern %q is neither a name, nor *.NAME, nor *", p))
		}
	}
	return errors.Join(append(errs, o.Limits.validate())...)
}

// decodeMAC decodes the MAC key of an external account. CAs show it in base64url, as the
// protocol wants it, or in base64, and some pad it.
func decodeMAC(text string) ([]byte, error) {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	key, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the external account's MAC key is not base64url: %w", err)
	}
	return key, nil
}

// Host is a name for which a route wants a certificate.
type Host struct {
	Name string
	// Namespace and Service are the route's.
	Namespace, Service string
}

func (o *Options) setDefaults() {
	o.Directory = cmp.Or(o.Directory, LetsEncrypt)
	o.Workers = cmp.Or(o.Workers, 8)
	o.FirstRetry = cmp.Or(o.FirstRetry, 15*time.Second)
	o.OrderTimeout = cmp.Or(o.OrderTimeout, 3*time.Minute)
	o.PeerWait = cmp.Or(o.PeerWait, 5*time.Minute)
	o.TicketLife = cmp.Or(o.TicketLife, 12*time.Hour)
	if o.Read == nil {
		o.Read = func() {}
	}
	o.Read = sync.OnceFunc(o.Read)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// wants reports whether a route wants a certificate for a host for which one may be
// ordered.
func (o *Options) wants(host string) bool {
	return orderable(host) && allowed(o.Allowed, host) && o.Wants(host)
}

// wanted returns the hosts for which certificates are obtained, sorted: those that
// routes want, without those that have a certificate from the operator.
func (o *Options) wanted() (hosts []Host) {
	for _, host := range o.Hosts() {
		if o.wants(host.Name) && !o.Certificates.Given(host.Name) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// Issuer obtains and shares certificates. All methods may be called concurrently.
type Issuer struct {
	options Options
	mirror  *mirror
	engine  *engine // nil when nothing is ordered
	leading atomic.Bool
	plan    atomic.Pointer[plan]    // nil where nothing is ordered
	waiting atomic.Pointer[Waiting] // nil while no order waits for other serai
	wake    chan struct{}           // something changed that the leader examines
	known   chan struct{}           // closed with the first table of routes
	know    func()                  // closes it
	tokens  *tokens                 // nil when nothing is ordered

	validations validations

	mu       sync.Mutex
	renewals map[string]time.Time // by host, when the leader renews; empty elsewhere
	unstored map[string]*Failure  // by host, failures that could not be stored
	orders   map[string]uint64    // by result
}

// New makes an Issuer.
func New(o Options) (*Issuer, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("acme options: %w", err)
	}
	o.setDefaults()
	i := &Issuer{
		options: o, wake: make(chan struct{}, 1), known: make(chan struct{}),
		renewals: make(map[string]time.Time), unstored: make(map[string]*Failure), orders: make(map[string]uint64),
	}
	i.know = sync.OnceFunc(func() { close(i.known) })
	ca := ""
	if o.Email != "" {
		var err error
		if i.engine, err = newEngine(&i.options); err != nil {
			return nil, err
		}
		ca = i.engine.ca
		i.tokens = newTokens(i.engine)
	}
	i.mirror = newMirror(&i.options, ca, i.look)
	return i, nil
}

// Changed says that there is a new table of routes.
func (i *Issuer) Changed() {
	i.know()
	i.look()
}

// look makes the leader examine again which hosts want certificates.
func (i *Issuer) look() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// Run mirrors the certificates, and orders them whenever this serai is the leader,
// until ctx ends, whose error it returns.
func (i *Issuer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { i.mirror.run(ctx) })
	defer running.Wait()
	if i.engine != nil {
		defer i.engine.close()
	}
	// A leader that did not know the existing certificates would order them again, and
	// one that did not know the routes would refuse to renew for them.
	for _, known := range []<-chan struct{}{i.mirror.complete, i.known} {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-known:
		}
	}
	if i.options.TicketLife > 0 {
		running.Go(func() { i.turnTickets(ctx) })
	}
	if i.engine == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		err := i.options.Store.Lead(ctx, i.options.Name, func(ctx context.Context) {
			i.leading.Store(true)
			defer i.leading.Store(false)
			i.lead(ctx)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		history.Tell(i.options.Logger, slog.LevelError, history.LeaderLost, "no leader can be chosen: this serai orders no certificates", "error", err)
		sleep.For(ctx, 10*time.Second)
	}
}

// Leading reports whether this serai orders the certificates.
func (i *Issuer) Leading() bool { return i.leading.Load() }

// Wants reports whether serai should obtain a certificate for a host.
func (i *Issuer) Wants(host string) bool {
	return i.engine != nil && i.options.wants(host)
}

// allowed reports whether a pattern covers a host; an empty list covers all.
func allowed(patterns []string, host string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		p = strings.ToLower(p)
		if below, wild := strings.CutPrefix(p, "*"); p == host || wild && (below == "" || strings.HasSuffix(host, below)) {
			return true
		}
	}
	return false
}

// orderable reports whether HTTP-01 or TLS-ALPN-01 can validate a host: a name with a
// dot, not a pattern and not an address.
func orderable(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != host && last != "" && !strings.ContainsAny(host, "*[]:_") && (last[0] < '0' || last[0] > '9')
}

// count counts an order by its result.
func (i *Issuer) count(result string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.orders[result]++
}

// Orders counts the orders of this serai by result.
func (i *Issuer) Orders() map[string]uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.orders)
}

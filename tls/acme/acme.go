// Package acme answers: how do the routes' hosts come to certificates?
//
// All serai of a cluster share one certstore.Store. Each of them mirrors the
// certificates in it into its SNI table; one of them, the leader, orders and
// renews with certmagic; and each can answer a CA's validation, because the
// tokens are in the store, too. No handshake ever waits for any of this.
package acme

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"serai/tls"
	"serai/tls/certstore"
)

// LetsEncrypt is the directory that is used when none is named.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Options is what an Issuer needs. Zero values mean the defaults named.
type Options struct {
	// Store has certificates, accounts, tokens and the leader's lock. Required.
	Store certstore.Store
	// Sealer seals the keys in the store; nil leaves them readable to who may
	// read the store.
	Sealer *certstore.Sealer
	// Local keeps a copy of the certificates, for a start while the store is
	// away; nil keeps none.
	Local *certstore.Directory
	// Certificates gets what is in the store. Required.
	Certificates *tls.Store
	// Name tells others which serai leads. Required.
	Name string

	// Email is the account's contact. Without it nothing is ordered, and only
	// the session tickets' keys and what others ordered are shared.
	Email string
	// Directory is the CA's, LetsEncrypt when empty.
	Directory string
	// CARoots verify the CA's own certificate; nil means the system's.
	CARoots *x509.CertPool
	// KeyID and MACKey bind the account to one that the CA knows (RFC 8555
	// section 7.3.4); empty for none. MACKey is base64url.
	KeyID, MACKey string
	// HTTPAddress and TLSAddress are our listeners, where the CA's validations
	// arrive; an empty one means that this kind of validation is not offered.
	HTTPAddress, TLSAddress string

	// Hosts returns the hosts whose routes want a certificate, exact names,
	// sorted. Required with Email.
	Hosts func() []Host
	// Wants reports whether a host is one of these. Required with Email.
	Wants func(host string) bool
	// Allowed are the patterns of hosts that certificates may be ordered for:
	// names, "*.example.org" for all below it, "*" for all, which is the
	// default.
	Allowed []string

	// Limits are what the CA takes, and what one namespace may take of that.
	Limits Limits

	// Peers lists the serai that the CA's validations may arrive at: no order
	// begins before they answer one. Nil asks nobody.
	Peers func(context.Context) ([]Peer, error)
	// PeerWait is how long orders wait for serai that do not answer, from when
	// the last one did, came or went, 5m; at most 24 times as long in all.
	PeerWait time.Duration

	// Read is called once certificates have been read for the first time, from
	// this node's copy or from the store; nil for nobody.
	Read func()

	// Workers bounds the orders under way, 8.
	Workers int
	// FirstRetry is the wait after the first failure of a host, 15s; each
	// further one makes it four times as long, up to 6h.
	FirstRetry time.Duration
	// OrderTimeout bounds one order, 3m.
	OrderTimeout time.Duration
	// TicketLife is how often the key of session tickets changes, 12h. Negative
	// shares none.
	TicketLife time.Duration
	// Logger gets each order and each trouble; nil discards it.
	Logger *slog.Logger
}

// Validate reports all that is wrong with the options at once.
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
	for _, p := range o.Allowed {
		if name := strings.TrimPrefix(p, "*."); p != "*" && (name == "" || strings.ContainsAny(name, "*:/ ")) {
			errs = append(errs, fmt.Errorf("pattern %q is neither a name, nor *.NAME, nor *", p))
		}
	}
	return errors.Join(append(errs, o.Limits.validate())...)
}

// Host is a name that a route wants a certificate for.
type Host struct {
	Name string
	// Namespace and Service are those of the route.
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

// wants reports whether a route wants a certificate for a host for which one may
// be ordered.
func (o *Options) wants(host string) bool {
	return orderable(host) && allowed(o.Allowed, host) && o.Wants(host)
}

// wanted returns the hosts that certificates are obtained for, sorted: those
// that are wanted, and that the operator has not given one for.
func (o *Options) wanted() (hosts []Host) {
	for _, host := range o.Hosts() {
		if o.wants(host.Name) && !o.Certificates.Given(host.Name) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// Issuer keeps certificates. All methods may be called at the same time.
type Issuer struct {
	options Options
	mirror  *mirror
	engine  *engine // nil when nothing is ordered
	leading atomic.Bool
	plan    atomic.Pointer[plan]    // nil where nothing is ordered
	waiting atomic.Pointer[Waiting] // nil while no order waits for other serai
	wake    chan struct{}           // something changed that the leader looks at
	known   chan struct{}           // closed with the first table of routes
	know    func()                  // closes it
	tokens  *tokens                 // nil when nothing is ordered

	validations validations

	mu       sync.Mutex
	renewals map[string]time.Time // by host, as the CA suggests
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
		renewals: make(map[string]time.Time), orders: make(map[string]uint64),
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

// Changed says that there is a table of routes, or a new one.
func (i *Issuer) Changed() {
	i.know()
	i.look()
}

// look makes the leader look again at which hosts want certificates.
func (i *Issuer) look() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// Run mirrors the certificates, and orders them whenever this is the leader,
// until ctx ends, whose error it returns.
func (i *Issuer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { i.mirror.run(ctx) })
	defer running.Wait()
	if i.engine != nil {
		defer i.engine.close()
	}
	// Who does not know what there is, and what is wanted, would order what
	// there is again, and refuse what is wanted.
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
		i.options.Logger.Error("no leader can be chosen: no certificate is ordered here", "error", err)
		pause(ctx, 10*time.Second)
	}
}

// Leading reports whether this serai orders the certificates.
func (i *Issuer) Leading() bool { return i.leading.Load() }

// Wants reports whether a certificate for a host is ours to obtain.
func (i *Issuer) Wants(host string) bool {
	return i.engine != nil && i.options.wants(host)
}

// allowed reports whether a pattern covers a host; no patterns cover all.
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

// orderable reports whether a host is a name that HTTP-01 or TLS-ALPN-01 can
// validate: a name with a dot, no pattern and no address.
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

// Orders returns how many orders of this serai ended in which way.
func (i *Issuer) Orders() map[string]uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.orders)
}

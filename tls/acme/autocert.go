package acme

import (
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"serai/internal/history"
	"serai/internal/sleep"
	"serai/tls"
	"serai/tls/certstore"
)

// Autocert obtains certificates with golang.org/x/crypto/acme/autocert, for one node:
// it is small, and shares nothing. It is asked for certificates in the background, and
// they are copied into the SNI table like all others.
type Autocert struct {
	options Options
	manager *autocert.Manager
	http    http.Handler
	wake    chan struct{}

	mu     sync.Mutex
	certs  map[string]*tls.Certificate
	failed map[string]*Failure
	orders map[string]uint64
	since  time.Time
}

// NewAutocert makes an Autocert that keeps certificates in dir. It ignores options
// about a store.
func NewAutocert(o Options, dir string) (*Autocert, error) {
	o.Store = (*certstore.Directory)(nil) // which is never used
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("acme options: %w", err)
	}
	o.setDefaults()
	a := &Autocert{options: o, wake: make(chan struct{}, 1), certs: make(map[string]*tls.Certificate),
		failed: make(map[string]*Failure), orders: make(map[string]uint64), since: time.Now()}
	client, err := newCAClient(o.CARoots)
	if err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	a.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(dir), Email: o.Email,
		HostPolicy: func(_ context.Context, host string) error {
			if !a.options.wants(host) {
				return fmt.Errorf("no route wants a certificate for %q", host)
			}
			return nil
		},
		Client: &acme.Client{DirectoryURL: o.Directory, UserAgent: "serai", HTTPClient: client},
	}
	if o.KeyID != "" {
		key, err := decodeMAC(o.MACKey)
		if err != nil {
			return nil, fmt.Errorf("acme: %w", err)
		}
		a.manager.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: o.KeyID, Key: key}
	}
	if o.HTTPAddress != "" {
		a.http = a.manager.HTTPHandler(http.NotFoundHandler())
	}
	return a, nil
}

// Changed makes it examine again which hosts want certificates.
func (a *Autocert) Changed() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run requests the certificate of each host, one after the other, until ctx ends, whose
// error it returns.
func (a *Autocert) Run(ctx context.Context) error {
	a.options.Read()
	turns := &turns{of: make(map[string]uint64)}
	for ctx.Err() == nil {
		a.forget(time.Now())
		asked := make(map[string]bool)
		for t := a.next(turns, asked); t != nil && ctx.Err() == nil; t = a.next(turns, asked) {
			asked[t.Name] = true
			turns.took(t.Host)
			// It cannot be told to stop, so a stop does not wait for it.
			fetched := make(chan struct{})
			go func() { defer close(fetched); a.fetch(t.Name) }()
			select {
			case <-fetched:
			case <-ctx.Done():
			}
		}
		select {
		case <-ctx.Done():
		case <-a.wake:
			sleep.For(ctx, 50*time.Millisecond)
		case <-time.After(time.Minute / 4):
		}
	}
	return ctx.Err()
}

// forget drops what is known of hosts that want no certificate any more: certificates once
// they have expired, and failures once their wait is over, so that a route that comes and
// goes causes no more orders than one that stays.
func (a *Autocert) forget(now time.Time) {
	wanted := make(map[string]bool)
	for _, h := range a.options.wanted() {
		wanted[h.Name] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.failed, func(host string, f *Failure) bool { return !wanted[host] && now.After(f.Next) })
	before := len(a.certs)
	maps.DeleteFunc(a.certs, func(host string, c *tls.Certificate) bool { return !wanted[host] && now.After(c.Leaf.NotAfter) })
	if len(a.certs) < before {
		a.publish()
	}
}

// publish puts the certificates into the SNI table. The caller holds a.mu.
func (a *Autocert) publish() {
	a.options.Certificates.Set(source, slices.Collect(maps.Values(a.certs)), nil)
}

// next returns the host whose turn it is, nil when all were requested: first hosts with
// a certificate, then new ones, then hosts whose request failed; namespaces take turns,
// and a host that comes meanwhile need not wait for all others.
func (a *Autocert) next(turns *turns, asked map[string]bool) *task {
	hosts := a.options.wanted()
	turns.keep(hosts)
	var due []*task
	a.mu.Lock()
	for _, h := range hosts {
		t := &task{Host: h, class: classFirst}
		f := a.failed[h.Name]
		switch {
		case asked[h.Name], f != nil && time.Now().Before(f.Next):
			continue
		case f != nil:
			t.class = classRetry
		case a.certs[h.Name] != nil:
			t.class = classRenewal
		}
		due = append(due, t)
	}
	a.mu.Unlock()
	return newQueue(turns, due).next(func(class, string) bool { return true })
}

// fetch gets the certificate of a host from autocert, which obtains it if it has none,
// and renews it by itself.
func (a *Autocert) fetch(host string) {
	got, err := a.manager.GetCertificate(&stdtls.ClientHelloInfo{
		ServerName: host, CipherSuites: []uint16{stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SignatureSchemes: []stdtls.SignatureScheme{stdtls.ECDSAWithP256AndSHA256}, SupportedCurves: []stdtls.CurveID{stdtls.CurveP256},
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && got.Leaf == nil && len(got.Certificate) > 0 {
		got.Leaf, err = x509.ParseCertificate(got.Certificate[0])
	}
	if err != nil {
		f := newFailure(host, err, a.failed[host])
		f.Next = f.Last.Add(a.options.retryAfter(f.Attempts))
		a.failed[host] = f
		a.orders["failed"]++
		history.Tell(a.options.Logger, slog.LevelError, history.CertificateFailed, "no certificate was obtained", "host", host, "attempts", f.Attempts, "next", f.Next.UTC().Format(time.RFC3339), "error", f.Error)
		return
	}
	delete(a.failed, host)
	kind := history.CertificateObtained
	if old := a.certs[host]; old != nil {
		if old.Leaf.Equal(got.Leaf) {
			return
		}
		kind = history.CertificateRenewed
	}
	a.orders["ok"]++
	a.certs[host] = &tls.Certificate{Certificate: *got, Names: []string{host}, Source: "autocert"}
	history.Tell(a.options.Logger, slog.LevelInfo, kind, "certificate obtained", "host", host, "expires", got.Leaf.NotAfter.UTC().Format(time.RFC3339))
	a.publish()
}

// AnswerHTTP answers an HTTP-01 validation.
func (a *Autocert) AnswerHTTP(host, path string) (answer string, ok bool) {
	if a.http == nil || !a.options.wants(nameOf(host)) {
		return "", false
	}
	w := &recorder{header: make(http.Header), status: http.StatusOK}
	a.http.ServeHTTP(w, &http.Request{Method: http.MethodGet, Host: nameOf(host), URL: &url.URL{Path: path}, Header: make(http.Header)})
	return w.body.String(), w.status == http.StatusOK
}

// recorder records an answer.
type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// AnswerTLS answers a TLS-ALPN-01 validation. For names that no route wants it does not
// read the disk.
func (a *Autocert) AnswerTLS(name string) *stdtls.Certificate {
	if !a.options.wants(nameOf(name)) {
		return nil
	}
	c, err := a.manager.GetCertificate(&stdtls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{tls.ACMEProtocol}})
	if err != nil {
		return nil
	}
	return c
}

// Orders counts the orders by result.
func (a *Autocert) Orders() map[string]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return map[string]uint64{"ok": a.orders["ok"], "failed": a.orders["failed"]}
}

// Status returns the state of the certificates.
func (a *Autocert) Status(context.Context) Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{Leader: a.options.Name, Leading: true, Directory: a.options.Directory, Since: a.since, Hosts: []HostStatus{}}
	for _, wanted := range a.options.wanted() {
		host := wanted.Name
		h := HostStatus{Host: host, Namespace: wanted.Namespace}
		if c := a.certs[host]; c != nil {
			h.Expires = &c.Leaf.NotAfter
		}
		if f := a.failed[host]; f != nil {
			h.Error, h.Attempts, h.Next = f.Error, f.Attempts, &f.Next
		}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

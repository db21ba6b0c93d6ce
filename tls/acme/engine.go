package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strconv"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"serai/tls/certstore"
)

// engine orders with certmagic, which does accounts, orders, validations and the CA's
// renewal information; serai decides when to order.
type engine struct {
	storage *storage
	cache   *certmagic.Cache
	config  *certmagic.Config
	issuer  *certmagic.ACMEIssuer
	ca      string // the CA's name in keys
	kinds   int    // number of offered kinds of validation: an order may cost as many orders
	told    *toldToWait
}

func newEngine(o *Options) (*engine, error) {
	e := &engine{storage: &storage{store: o.Store, sealer: o.Sealer, locks: make(map[string]chan struct{})}}
	e.told = new(toldToWait)
	logger := zap.New(core{o.Logger, e.told})
	// certmagic needs a cache. Nothing is ever put into it, so its maintenance has
	// nothing to do.
	e.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return e.config, nil },
		Logger:           logger,
	})
	e.config = certmagic.New(e.cache, certmagic.Config{
		Storage: e.storage, Logger: logger, DisableStorageCheck: true,
		OCSP:      certmagic.OCSPConfig{DisableStapling: true},
		KeySource: certmagic.StandardKeyGenerator{KeyType: certmagic.P256},
	})
	template := certmagic.ACMEIssuer{
		CA: o.Directory, Email: o.Email, Agreed: true, Logger: logger,
		CertObtainTimeout: o.OrderTimeout, DisableHTTPChallenge: o.HTTPAddress == "", DisableTLSALPNChallenge: o.TLSAddress == "",
	}
	if o.KeyID != "" {
		mac, err := decodeMAC(o.MACKey)
		if err != nil {
			return nil, fmt.Errorf("acme: %w", err)
		}
		template.ExternalAccount = &acme.EAB{KeyID: o.KeyID, MACKey: base64.RawURLEncoding.EncodeToString(mac)}
	}
	// certmagic tests whether something listens where validations arrive: serai does.
	var err error
	host, port := "", 0
	for _, l := range []struct {
		address string
		port    *int
	}{{o.HTTPAddress, &template.AltHTTPPort}, {o.TLSAddress, &template.AltTLSALPNPort}} {
		if l.address == "" {
			continue
		}
		e.kinds++
		if host, port, err = splitAddress(l.address); err != nil {
			return nil, fmt.Errorf("acme: %w", err)
		}
		template.ListenHost, *l.port = host, port
	}
	e.issuer = certmagic.NewACMEIssuer(e.config, template)
	e.issuer.TestCA = "" // otherwise a second try would go to another CA
	if err := boundIssuer(e.issuer, o.CARoots); err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	e.config.Issuers = []certmagic.Issuer{e.issuer}
	e.ca = certmagic.StorageKeys.Safe(e.issuer.IssuerKey())
	return e, nil
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	return host, port, err
}

func (e *engine) close() { e.cache.Stop() }

// siteFor reads the current record of a host. A record that cannot be used will be
// replaced.
func (e *engine) siteFor(ctx context.Context, h Host) (*site, *certstore.Record, error) {
	s := &site{path: certPath(e.ca, h.Name), ca: e.ca, host: h.Name, namespace: h.Namespace, staged: make(map[string]string)}
	r, err := e.storage.store.Get(ctx, s.path)
	if errors.Is(err, certstore.ErrNotFound) {
		return s, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	s.version = r.Version
	if _, _, err := readCertificate(r, e.storage.sealer); err == nil {
		key, _ := e.storage.sealer.Open(r.Path, "key", r.Items["key"])
		s.items = map[string]string{"crt": r.Items["crt"], "json": r.Items["json"], "key": key}
	}
	return s, r, nil
}

// order obtains the site's first certificate, or replaces the existing one. Unnamed
// says that the order must not name the one that it replaces (RFC 9773 section 5),
// because a CA that does not know it refuses the order.
func (e *engine) order(ctx context.Context, s *site, unnamed bool) error {
	ctx = context.WithValue(ctx, siteKey{}, s)
	if unnamed {
		nameless := 2 // the attempt in which certmagic names none
		ctx = context.WithValue(ctx, certmagic.AttemptsCtxKey, &nameless)
	}
	var err error
	if s.items == nil {
		err = e.config.ObtainCertSync(ctx, s.host)
	} else {
		err = e.config.RenewCertSync(ctx, s.host, true)
	}
	if s.err != nil {
		return s.err // which certmagic returns only as text
	}
	if err == nil && !s.written {
		err = errors.New("the order ended without a certificate")
	}
	return err
}

// suggestion asks the CA when a certificate should be renewed (RFC 9773): a window, and
// a time in it.
func (e *engine) suggestion(ctx context.Context, leaf *x509.Certificate) (acme.RenewalInfo, error) {
	return e.issuer.GetRenewalInfo(ctx, certmagic.Certificate{Certificate: tls.Certificate{Leaf: leaf}})
}

// tokenKey is the key under which certmagic stores the token for a host.
func (e *engine) tokenKey(host string) string {
	return path.Join("acme", e.ca) + tokenFolder + certmagic.StorageKeys.Safe(host) + ".json"
}

// tokenFolder is part of the keys of all tokens.
const tokenFolder = "/challenge_tokens/"

// core passes certmagic's log lines to slog, as DEBUG lines: what an operator must know
// is logged by this package.
type core struct {
	logger *slog.Logger
	told   *toldToWait
}

// Enabled is called before the message is known, so Check decides.
func (c core) Enabled(zapcore.Level) bool { return true }

func (c core) With(f []zapcore.Field) zapcore.Core {
	return core{c.logger.With(attributes(f)...), c.told}
}

func (c core) Sync() error { return nil }

func (c core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	wanted := e.Level > zapcore.DebugLevel && c.logger.Enabled(context.Background(), slog.LevelDebug)
	if wanted || e.Message == exchangeLogged {
		return to.AddCore(e, c)
	}
	return to
}

func (c core) Write(e zapcore.Entry, f []zapcore.Field) error {
	if e.Message == exchangeLogged {
		c.told.note(mapOf(f))
		return nil
	}
	c.logger.Debug("certmagic: "+e.Message, attributes(f)...)
	return nil
}

func attributes(fields []zapcore.Field) []any {
	var all []any
	for k, v := range mapOf(fields) {
		all = append(all, k, v)
	}
	return all
}

func mapOf(fields []zapcore.Field) map[string]any {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	return m.Fields
}

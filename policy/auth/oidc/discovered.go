package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"time"

	oidclib "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"serai/internal/boundedhttp"
)

const (
	// DefaultAnswer bounds each answer of a provider, in bytes.
	DefaultAnswer = 256 << 10
	// knownFor is how long a provider's metadata is not asked for again. What is known
	// stays in use until there is something newer.
	knownFor = time.Hour
	// firstPause and longestPause bound the time between two attempts to get it.
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// ProviderOptions say which provider it is, and whom it is believed from. Zero values mean
// the defaults named.
type ProviderOptions struct {
	// Issuer is the provider's URL, exactly as it names itself. Required.
	Issuer string
	// CA has the certificates, as PEM, that the provider's must lead to; empty means those
	// of the system.
	CA string
	// Insecure allows plain HTTP.
	Insecure bool
	// MaxAnswer bounds each answer, in bytes; DefaultAnswer.
	MaxAnswer int64
}

// Provider is what an OpenID provider says of itself, and the keys that it signs with. It is
// asked when somebody needs it: a serai that starts while it is away serves all else, and
// finds it later.
//
// All Logins with the same ProviderOptions should have the same Provider, also when the
// config file that they were made from becomes another: what is known stays in use when
// the provider is away.
type Provider struct {
	options ProviderOptions
	client  *http.Client

	mu       sync.Mutex
	known    *discovered   // nil until it has answered
	since    time.Time     // when it has
	asking   chan struct{} // closed when who asks has its answer; nil while nobody does
	failures int
	failure  error     // of the last attempt
	again    time.Time // not to be asked before, after a failure
	tooLong  uint64    // answers
}

// discovered is what a provider has said of itself (OpenID Connect Discovery 1.0 section 3).
// Never modified.
type discovered struct {
	provider *oidclib.Provider
	keys     keySet
	endpoint oauth2.Endpoint
	metadataJSON
}

type metadataJSON struct {
	JWKS       string   `json:"jwks_uri"`
	UserInfo   string   `json:"userinfo_endpoint"`
	EndSession string   `json:"end_session_endpoint"`
	Revocation string   `json:"revocation_endpoint"`
	Methods    []string `json:"token_endpoint_auth_methods_supported"`
	Algorithms []string `json:"id_token_signing_alg_values_supported"`
	// SaysIssuer is whether the callback has iss (RFC 9207).
	SaysIssuer bool `json:"authorization_response_iss_parameter_supported"`
}

// NewProvider makes a Provider of which nothing is known.
func NewProvider(o ProviderOptions) (*Provider, error) {
	if o.MaxAnswer == 0 {
		o.MaxAnswer = DefaultAnswer
	}
	config := &tls.Config{}
	if o.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(o.CA)) {
			return nil, errors.New("ca_file cannot be used: there is no certificate in it (PEM)")
		}
	}
	p := &Provider{options: o}
	t := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true, TLSClientConfig: config}
	p.client = boundedhttp.NewClient(t, boundedhttp.Bounds{Body: o.MaxAnswer, TooLarge: p.countTooLong})
	// Each request has the timeout of who makes it; that for keys is made for all who wait
	// for them.
	p.client.Timeout = longestTimeout
	return p, nil
}

// Same reports whether another Provider has the same options.
func (p *Provider) Same(o *Provider) bool { return p.options == o.options }

// TooLong counts the answers that were longer than they may be.
func (p *Provider) TooLong() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tooLong
}

func (p *Provider) countTooLong() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tooLong++
}

func (p *Provider) close() { p.client.CloseIdleConnections() }

// context is for requests to the provider. They go on when a browser leaves, because their
// outcome counts all the same: a code, or a refresh token, is used up. They end with the
// timeout.
func (p *Provider) context(timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(oidclib.ClientContext(context.Background(), p.client), timeout)
}

// find returns what the provider says of itself, and asks it where that is needed: one
// request at a time, while the others wait for it or, where something is known, do not.
func (p *Provider) find(gone <-chan struct{}, timeout time.Duration) (*discovered, error) {
	for {
		p.mu.Lock()
		now := time.Now()
		switch {
		case p.known != nil && (now.Sub(p.since) < knownFor || p.asking != nil || now.Before(p.again)):
			defer p.mu.Unlock()
			return p.known, nil
		case p.asking == nil && now.Before(p.again):
			p.mu.Unlock()
			return nil, errUnavailable
		case p.asking == nil:
			p.asking = make(chan struct{})
			p.mu.Unlock()
			return p.discover(timeout)
		}
		asking := p.asking
		p.mu.Unlock()
		select {
		case <-asking:
		case <-gone:
			return nil, errUnavailable
		}
	}
}

// lastFailure is what went wrong when the provider was last asked, nil for nothing.
func (p *Provider) lastFailure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// discover asks the provider, for all who wait.
func (p *Provider) discover(timeout time.Duration) (*discovered, error) {
	defer func() { // also when it panics: nobody is to wait for ever
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.asking)
		p.asking = nil
	}()
	found, err := p.ask(timeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
	if err != nil {
		pause := min(longestPause, firstPause<<min(p.failures, 10))
		p.failures++
		p.again = time.Now().Add(pause/2 + rand.N(pause/2+1))
		if p.known != nil {
			return p.known, nil
		}
		return nil, errUnavailable
	}
	if last := p.known; last != nil && last.JWKS == found.JWKS {
		found.keys = last.keys // with those that are known
		if reflect.DeepEqual(last.metadataJSON, found.metadataJSON) && last.endpoint == found.endpoint {
			found = last
		}
	}
	p.known, p.since, p.failures = found, time.Now(), 0
	return found, nil
}

func (p *Provider) ask(timeout time.Duration) (*discovered, error) {
	ctx, cancel := p.context(timeout)
	defer cancel()
	found, err := oidclib.NewProvider(ctx, p.options.Issuer)
	if err != nil {
		return nil, err
	}
	d := &discovered{provider: found, endpoint: found.Endpoint()}
	if err := found.Claims(&d.metadataJSON); err != nil {
		return nil, err
	}
	for _, endpoint := range []string{d.endpoint.AuthURL, d.endpoint.TokenURL, d.JWKS} {
		if !p.acceptable(endpoint) {
			return nil, errors.New("an endpoint is missing, or not with https")
		}
	}
	for _, endpoint := range []*string{&d.UserInfo, &d.EndSession, &d.Revocation} {
		if !p.acceptable(*endpoint) {
			*endpoint = ""
		}
	}
	// Nothing is tried out: a code that was sent in the wrong way could be used up.
	d.endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if len(d.Methods) > 0 && !slices.Contains(d.Methods, "client_secret_basic") {
		d.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	d.keys = keySet{oidclib.NewRemoteKeySet(oidclib.ClientContext(context.Background(), p.client), d.JWKS)}
	return d, nil
}

// acceptable reports whether serai, or a browser, may be sent to an endpoint.
func (p *Provider) acceptable(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && visible(endpoint) && (u.Scheme == "https" || u.Scheme == "http" && p.options.Insecure) && u.Host != "" && u.User == nil && u.Fragment == ""
}

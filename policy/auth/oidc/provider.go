package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	oidclib "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// maxAnswer bounds each answer of a provider, in bytes.
	maxAnswer = 256 << 10
	// knownFor is how long a provider's metadata is not asked for again. What is known
	// stays in use until there is something newer.
	knownFor = time.Hour
	// firstPause and longestPause bound the time between two attempts to get it.
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

var (
	// errUnavailable is that a provider says nothing that is of use.
	errUnavailable = errors.New("the provider does not answer, or not as an OpenID provider does")
	// errRefused is that it does not accept what a browser, or a session, has brought.
	errRefused = errors.New("the provider refuses it")
)

// provider is an OpenID provider, which is asked when somebody needs it: a serai that
// starts while it is away serves all else, and finds it later.
type provider struct {
	o      *Options
	client *http.Client

	mu       sync.Mutex
	known    *metadata     // nil until it has answered
	since    time.Time     // when it has
	asking   chan struct{} // closed when who asks has its answer; nil while nobody does
	failures int
	again    time.Time // not to be asked before, after a failure
	// resting is until when no session is renewed, after a failure.
	resting time.Time

	problems problems // has its own lock
}

// metadata is what a provider says of itself (OpenID Connect Discovery 1.0 section 3).
type metadata struct {
	provider *oidclib.Provider
	verifier *oidclib.IDTokenVerifier
	endpoint oauth2.Endpoint
	metadataJSON
}

type metadataJSON struct {
	JWKS       string   `json:"jwks_uri"`
	UserInfo   string   `json:"userinfo_endpoint"`
	EndSession string   `json:"end_session_endpoint"`
	Revocation string   `json:"revocation_endpoint"`
	Methods    []string `json:"token_endpoint_auth_methods_supported"`
	// SaysIssuer is whether the callback has iss (RFC 9207).
	SaysIssuer bool `json:"authorization_response_iss_parameter_supported"`
}

func newProvider(name string, o *Options, shared *Shared) *provider {
	t := &http.Transport{
		MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: o.Roots},
	}
	return &provider{o: o, problems: problems{auth: name, shared: shared}, client: &http.Client{
		Transport: bounded{t}, Timeout: o.Timeout,
		// A redirect could lead a secret, or serai, to where the operator has not said.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *provider) close() { p.client.Transport.(bounded).CloseIdleConnections() }

// bounded is a transport whose answers have a bound.
type bounded struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.Transport.RoundTrip(r)
	if err == nil {
		res.Body = &boundedBody{res.Body, maxAnswer}
	}
	return res, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("an answer has more than %d bytes", maxAnswer)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// context is for requests to the provider. They go on when a browser leaves, because their
// outcome counts all the same: a code, or a refresh token, is used up. They end with the
// timeout.
func (p *provider) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(oidclib.ClientContext(context.Background(), p.client), p.o.Timeout)
}

// metadata returns what the provider says of itself, and asks it where that is needed: one
// request at a time, while the others wait for it or, where something is known, do not.
// While the client secret is not known, nothing else can be done there either.
func (p *provider) metadata(gone <-chan struct{}) (*metadata, error) {
	if p.o.ClientSecret() == "" {
		return nil, errUnavailable
	}
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
			return p.discover()
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

// discover asks the provider, for all who wait.
func (p *provider) discover() (*metadata, error) {
	defer func() { // also when it panics: nobody is to wait for ever
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.asking)
		p.asking = nil
	}()
	found, err := p.ask()
	p.problems.note(partMetadata, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		pause := min(longestPause, firstPause<<min(p.failures, 10))
		p.failures++
		p.again = time.Now().Add(pause/2 + rand.N(pause/2+1))
		if p.known != nil {
			return p.known, nil
		}
		return nil, errUnavailable
	}
	p.known, p.since, p.failures = found, time.Now(), 0
	return found, nil
}

func (p *provider) ask() (*metadata, error) {
	ctx, cancel := p.context()
	defer cancel()
	found, err := oidclib.NewProvider(ctx, p.o.Issuer)
	if err != nil {
		return nil, err
	}
	m := &metadata{provider: found, endpoint: found.Endpoint()}
	if err := found.Claims(&m.metadataJSON); err != nil {
		return nil, err
	}
	for _, endpoint := range []string{m.endpoint.AuthURL, m.endpoint.TokenURL, m.JWKS} {
		if !p.acceptable(endpoint) {
			return nil, errors.New("an endpoint is missing, or not with https")
		}
	}
	for _, endpoint := range []*string{&m.UserInfo, &m.EndSession, &m.Revocation} {
		if !p.acceptable(*endpoint) {
			*endpoint = ""
		}
	}
	// Nothing is tried out: a code that was sent in the wrong way could be used up.
	m.endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, "client_secret_basic") {
		m.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	m.verifier = found.VerifierContext(oidclib.ClientContext(context.Background(), p.client), &oidclib.Config{
		ClientID: p.o.ClientID,
		Now:      func() time.Time { return time.Now().Add(-longestSkew) }, // for exp
	})
	return m, nil
}

// acceptable reports whether serai, or a browser, may be sent to an endpoint.
func (p *provider) acceptable(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && visible(endpoint) && (u.Scheme == "https" || u.Scheme == "http" && p.o.Insecure) && u.Host != "" && u.User == nil && u.Fragment == ""
}

// config is what the OAuth library needs of a login.
func (p *provider) config(m *metadata, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret(), Endpoint: m.endpoint, RedirectURL: redirect, Scopes: p.o.Scopes}
}

// failed sorts the errors of requests to the token endpoint, and notes those that are no
// user's. Those of the library may contain what it has answered.
func (p *provider) failed(err error) error {
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) && answered.Response != nil {
		status, code := answered.Response.StatusCode, answered.ErrorCode
		if status < 500 && (code == "invalid_grant" || status == http.StatusBadRequest && code != "" && !slices.Contains(oursToMend, code)) {
			p.problems.note(partToken, nil)
			return errRefused
		}
	}
	p.problems.note(partToken, err)
	return errUnavailable
}

// oursToMend are errors of the token endpoint (RFC 6749 section 5.2) that say nothing of a
// user: the operator must mend something, or the provider.
var oursToMend = []string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "server_error", "temporarily_unavailable", "slow_down"}

// rest has no session renewed for a moment, after the provider has failed: requests would
// all wait for it.
func (p *provider) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting = time.Now().Add(p.o.Timeout)
}

func (p *provider) rests() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.resting)
}

// revoke tells the provider that a refresh token is used no more (RFC 7009). What comes of
// it changes nothing here.
func (p *provider) revoke(m *metadata, token string) {
	if m.Revocation == "" || token == "" {
		return
	}
	ctx, cancel := p.context()
	defer cancel()
	form := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}
	if m.endpoint.AuthStyle == oauth2.AuthStyleInParams {
		form.Set("client_id", p.o.ClientID)
		form.Set("client_secret", p.o.ClientSecret())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Revocation, strings.NewReader(form.Encode()))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if m.endpoint.AuthStyle == oauth2.AuthStyleInHeader {
		r.SetBasicAuth(url.QueryEscape(p.o.ClientID), url.QueryEscape(p.o.ClientSecret()))
	}
	if res, err := p.client.Do(r); err == nil {
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

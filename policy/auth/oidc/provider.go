package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	oidclib "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

var (
	// errUnavailable is that a provider says nothing that is of use.
	errUnavailable = errors.New("the provider does not answer, or not as an OpenID provider does")
	// errRefused is that it does not accept what a browser, or a session, has brought.
	errRefused = errors.New("the provider refuses it")
	// errUnsigned is that an ID token was signed with none of the provider's keys.
	errUnsigned = fmt.Errorf("%w: none of its keys has signed the ID token", errRefused)
)

// provider is a Provider as one Login uses it.
type provider struct {
	*Provider
	o *Options

	mu    sync.Mutex
	known *metadata // made of what was discovered last; nil for nothing
	// resting is until when no session is renewed, after failures.
	resting time.Time
	// failing is the key of the last renewal that has failed since one was answered, empty
	// for none.
	failing string

	problems problems // has its own lock
}

// metadata is what a provider says of itself, and what checks the tokens that it makes for
// this Login.
type metadata struct {
	*discovered
	verifier *oidclib.IDTokenVerifier
}

// context is for requests to the provider.
func (p *provider) context() (context.Context, context.CancelFunc) {
	return p.Provider.context(p.o.Timeout)
}

// metadata returns what the provider says of itself. While the client secret is not known,
// nothing else can be done there either.
func (p *provider) metadata(gone <-chan struct{}) (*metadata, error) {
	if p.o.ClientSecret() == "" {
		return nil, errUnavailable
	}
	found, err := p.find(gone, p.o.Timeout)
	p.problems.note(partMetadata, p.lastFailure())
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || p.known.discovered != found {
		p.known = &metadata{found, found.newVerifier(p.o.Issuer, p.o.ClientID)}
	}
	return p.known, nil
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

// renewed notes what came of a renewal. When the provider has failed two sessions in a row, none
// is renewed for a moment: requests would all wait for it. One alone may have a refresh token
// that the provider answers with an error of its own, each time: that is not to hold up others.
func (p *provider) renewed(key string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == errUnavailable:
		if p.failing != "" && p.failing != key {
			p.resting = time.Now().Add(p.o.Timeout)
		}
		p.failing = key
	case err == nil || err == errRefused:
		p.failing = ""
	}
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

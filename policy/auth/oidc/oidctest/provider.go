// Package oidctest is an OpenID provider for tests: the one of zitadel/oidc, in this
// process and over TLS, with its users, and with faults on request.
package oidctest

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// What serai is known by.
const (
	ClientID     = "serai"
	ClientSecret = "the-secret-of-serai"
)

// Password is that of all users: ann, who is in the groups dev and ops, and bob, in none.
const Password = "verysecure"

// Provider is a provider. Its users log in at a page with a form.
type Provider struct {
	// URL is its issuer. CA is the certificate of its server, in PEM.
	URL string
	CA  []byte

	server *httptest.Server
	store  *store

	mu     sync.Mutex
	asked  map[string]int
	faults map[string]http.HandlerFunc
}

// New starts a provider that sends browsers back to these URLs, also after a logout.
func New(t testing.TB, redirects ...string) *Provider {
	t.Helper()
	p := &Provider{asked: make(map[string]int), faults: make(map[string]http.HandlerFunc)}
	var handler http.Handler
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked[r.URL.Path]++
		fault := p.faults[r.URL.Path]
		if fault == nil {
			fault = p.faults["*"]
		}
		p.mu.Unlock()
		if fault != nil {
			fault(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	p.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	p.URL = p.server.URL
	p.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	client := storage.WebClient(ClientID, ClientSecret, redirects...)
	p.store = &store{
		Storage:   storage.NewStorageWithClients(users{}, map[string]*storage.Client{ClientID: client}),
		redirects: redirects, groups: map[string][]string{"id-ann": {"dev", "ops"}}, unconfirmed: make(map[string]bool),
	}
	config := &op.Config{
		CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true, DefaultLogoutRedirectURI: "/logged-out",
	}
	rand.Read(config.CryptoKey[:])
	provider, err := op.NewProvider(config, p.store, op.StaticIssuer(p.URL), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("/logged-out", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "logged out at the provider") })
	mux.Handle("/login/username", p.page(op.NewIssuerInterceptor(provider.IssuerFromRequest), op.AuthCallbackURL(provider)))
	handler = mux
	return p
}

// page is where users log in.
func (p *Provider) page(issuer *op.IssuerInterceptor, back func(context.Context, string) string) http.Handler {
	return issuer.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			id := r.FormValue("id")
			if p.store.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), id) == nil {
				http.Redirect(w, r, back(r.Context(), id), http.StatusFound)
				return
			}
			w.WriteHeader(http.StatusForbidden)
		}
		fmt.Fprintf(w, `<!DOCTYPE html><title>provider</title><form method="post" action="/login/username"><input name="id" type="hidden" value="%s">
<input name="username" id="username"><input name="password" id="password" type="password"><button id="login">log in</button></form>`, html.EscapeString(r.FormValue("authRequestID")))
	})
}

// Roots returns the CA of the provider.
func (p *Provider) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CA)
	return pool
}

// Asked returns how often a path was asked for.
func (p *Provider) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// Fail has a path, or with "*" all that have no fault of their own, answered by a fault; nil
// ends it.
func (p *Provider) Fail(path string, fault http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fault == nil {
		delete(p.faults, path)
		return
	}
	p.faults[path] = fault
}

// SetGroups changes the groups of a user.
func (p *Provider) SetGroups(user string, groups ...string) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.store.groups["id-"+user] = groups
}

// Doubt has the provider say that the address of a user is not confirmed.
func (p *Provider) Doubt(user string) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.store.unconfirmed["id-"+user] = true
}

// store is the example's, with groups, and with places to go to after a logout.
type store struct {
	*storage.Storage
	redirects []string

	mu          sync.Mutex
	groups      map[string][]string
	unconfirmed map[string]bool
}

// SetUserinfoFromToken implements op.Storage.
func (s *store) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, tokenID, subject, origin string) error {
	if err := s.Storage.SetUserinfoFromToken(ctx, info, tokenID, subject, origin); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if groups := s.groups[subject]; groups != nil {
		info.AppendClaims("groups", groups)
	}
	if s.unconfirmed[subject] {
		info.AppendClaims("email_verified", false) // its own field is left out then
		info.EmailVerified = false
	}
	return nil
}

// GetClientByClientID implements op.Storage.
func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return client{c, s.redirects}, nil
}

type client struct {
	op.Client
	redirects []string
}

// PostLogoutRedirectURIs implements op.Client.
func (c client) PostLogoutRedirectURIs() []string { return c.redirects }

// users are the users of the example's store.
type users struct{}

// GetUserByID implements storage.UserStore.
func (users) GetUserByID(id string) *storage.User {
	name, ok := strings.CutPrefix(id, "id-")
	if !ok || name != "ann" && name != "bob" {
		return nil
	}
	return &storage.User{ID: id, Username: name, Password: Password, FirstName: name, Email: name + "@example.org", EmailVerified: true}
}

// GetUserByUsername implements storage.UserStore.
func (u users) GetUserByUsername(name string) *storage.User { return u.GetUserByID("id-" + name) }

// ExampleClientID implements storage.UserStore.
func (users) ExampleClientID() string { return ClientID }

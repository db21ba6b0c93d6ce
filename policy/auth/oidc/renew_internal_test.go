package oidc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// renewals is a provider whose answers a test gives, and a session that it renews.
type renewals struct {
	*testing.T
	mux      *http.ServeMux
	url      string
	tokens   atomic.Int64 // refresh tokens so far: r1, r2
	login    *Login
	metadata *metadata
	session  *session
}

func newRenewals(t *testing.T) *renewals {
	r := &renewals{T: t, mux: http.NewServeMux()}
	server := httptest.NewServer(r.mux)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// answers answers a path with what of returns, and with 500 for nil.
func (r *renewals) answers(path string, of func() any) {
	r.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if v := of(); v == nil {
			w.WriteHeader(http.StatusInternalServerError)
		} else {
			json.NewEncoder(w).Encode(v)
		}
	})
}

// renews answers with the next refresh token, and more.
func (r *renewals) renews(more func() map[string]any) {
	r.answers("/t", func() any {
		answer := map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "refresh_token": fmt.Sprintf("r%d", r.tokens.Add(1))}
		for name, v := range more() {
			answer[name] = v
		}
		return answer
	})
}

// begin makes the session, of a provider that has these endpoints besides.
func (r *renewals) begin(more map[string]any) {
	r.Helper()
	r.answers("/.well-known/openid-configuration", func() any {
		said := map[string]any{
			"issuer": r.url, "authorization_endpoint": r.url + "/a", "token_endpoint": r.url + "/t", "jwks_uri": r.url + "/k",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		}
		for name, v := range more {
			said[name] = v
		}
		return said
	})
	l, err := New("sso", Options{
		Issuer: r.url, Insecure: true, ClientID: "serai", ClientSecret: func() string { return "secret" }, Keys: func() *Keys { return nil },
		Renew: 10 * time.Minute, Stale: time.Hour,
	}, NewShared())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(l.Close)
	if r.metadata, err = l.provider.metadata(nil); err != nil {
		r.Fatal(err)
	}
	now := time.Now()
	r.login = l
	r.session = &session{ID: "1", Subject: "ada", User: "ada", Groups: []string{"admins"}, Refresh: "r0", Ends: now.Add(12 * time.Hour).Unix(), Due: now.Unix()}
}

// refresh renews the session.
func (r *renewals) refresh() (err error) {
	r.session, err = r.login.refresh(r.metadata, r.session)
	return err
}

// goesOnForStale tests that the session goes on with each new refresh token, and not until its end.
func (r *renewals) goesOnForStale() {
	r.Helper()
	for i := range 3 {
		if err := r.refresh(); err != nil || r.session.Refresh != fmt.Sprintf("r%d", i+1) || !r.session.in([]string{"admins"}) {
			r.Fatalf("renewed for the %dth time: %+v, %v", i+1, r.session, err)
		}
	}
	late := *r.session
	late.Unsaid = time.Now().Add(-time.Hour).Unix()
	if next, err := r.login.refresh(r.metadata, &late); err != errRefused {
		r.Errorf("an hour later: %+v, %v, want none", next, err)
	}
}

// TestProviderDoesNotSayOfWhom: a provider that renews a session, but whose UserInfo endpoint
// fails, cannot say whether the user is still in a group: the session goes on for stale, with
// each new refresh token, and not until its end.
func TestProviderDoesNotSayOfWhom(t *testing.T) {
	r := newRenewals(t)
	var says atomic.Bool
	r.renews(func() map[string]any { return nil })
	r.answers("/u", func() any {
		if !says.Load() {
			return nil
		}
		return map[string]any{"sub": "ada", "groups": []string{"staff"}}
	})
	r.begin(map[string]any{"userinfo_endpoint": r.url + "/u"})
	r.goesOnForStale()
	says.Store(true)
	if err := r.refresh(); err != nil || r.session.Unsaid != 0 || r.session.in([]string{"admins"}) || !r.session.in([]string{"staff"}) {
		t.Errorf("when the provider says again: %+v, %v", r.session, err)
	}
}

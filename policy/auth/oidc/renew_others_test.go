package oidc

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"serai/policy"
)

// waiting is a request of which no more is used than a renewal uses.
type waiting struct{ policy.Request }

func (waiting) Wait(f func(gone <-chan struct{})) { f(nil) }
func (waiting) ClientAddr() netip.Addr            { return netip.MustParseAddr("192.0.2.1") }

// TestOneSessionHoldsUpNoOther: a provider that fails with one refresh token, each time, is asked
// for other sessions nevertheless, and for that one not with each request. One that fails with
// two sessions in a row is not asked for a third.
func TestOneSessionHoldsUpNoOther(t *testing.T) {
	var asked, bad atomic.Int64
	var away atomic.Bool
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%[2]s/a","token_endpoint":"%[2]s/t","jwks_uri":"%[2]s/k","id_token_signing_alg_values_supported":["RS256"]}`, server.URL, server.URL)
	})
	mux.HandleFunc("/t", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.FormValue("refresh_token") == "bad" {
			bad.Add(1)
		} else if !away.Load() {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token":"a","token_type":"Bearer","expires_in":60,"refresh_token":"next"}`)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	l, err := New("sso", Options{
		Issuer: server.URL, Insecure: true, ClientID: "serai", ClientSecret: func() string { return "secret" }, Keys: func() *Keys { return nil }, Timeout: 30 * time.Second,
	}, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	renew := func(token string) error {
		now := time.Now()
		s := &session{ID: token, Subject: "ada", User: "ada", Refresh: token, Ends: now.Add(12 * time.Hour).Unix(), Due: now.Unix()}
		_, err := l.renew(&asking{Request: waiting{}, l: l, now: now}, s)
		return err
	}
	for n := range 3 {
		if err := renew("bad"); err != errUnavailable {
			t.Errorf("the bad token: %v", err)
		}
		if err := renew(fmt.Sprint("good", n)); err != nil {
			t.Errorf("another session, after the bad token: %v", err)
		}
	}
	if n := bad.Load(); n != 1 {
		t.Errorf("the provider was asked for the bad token %d times at once, want 1", n)
	}
	away.Store(true)
	before := asked.Load()
	for n := range 5 {
		if err := renew(fmt.Sprint("later", n)); err != errUnavailable {
			t.Errorf("while the provider is away: %v", err)
		}
	}
	if n := asked.Load() - before; n != 2 {
		t.Errorf("while it is away the provider was asked for %d sessions, want 2", n)
	}
}

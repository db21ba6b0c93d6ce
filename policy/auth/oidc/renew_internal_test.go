package oidc

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestProviderDoesNotSayOfWhom: a provider that renews a session, but whose UserInfo endpoint
// fails, cannot say whether the user is still in a group: the session goes on for stale, with
// each new refresh token, and not until its end.
func TestProviderDoesNotSayOfWhom(t *testing.T) {
	var says atomic.Bool
	var tokens atomic.Int64
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	answer := func(path string, of func() string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if text := of(); text == "" {
				w.WriteHeader(http.StatusInternalServerError)
			} else {
				fmt.Fprint(w, text)
			}
		})
	}
	answer("/.well-known/openid-configuration", func() string {
		return fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":"%[2]s/a","token_endpoint":"%[2]s/t","jwks_uri":"%[2]s/k","userinfo_endpoint":"%[2]s/u","id_token_signing_alg_values_supported":["RS256"]}`, server.URL, server.URL)
	})
	answer("/t", func() string {
		return fmt.Sprintf(`{"access_token":"a","token_type":"Bearer","expires_in":60,"refresh_token":"r%d"}`, tokens.Add(1))
	})
	answer("/u", func() string {
		if !says.Load() {
			return ""
		}
		return `{"sub":"ada","groups":["staff"]}`
	})
	l, err := New("sso", Options{
		Issuer: server.URL, Insecure: true, ClientID: "serai", ClientSecret: func() string { return "secret" }, Keys: func() *Keys { return nil },
		Renew: 10 * time.Minute, Stale: time.Hour,
	}, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, err := l.provider.metadata(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := &session{ID: "1", Subject: "ada", User: "ada", Groups: []string{"admins"}, Refresh: "r0", Ends: now.Add(12 * time.Hour).Unix(), Due: now.Unix()}
	for i := range 3 {
		if s, err = l.refresh(m, s); err != nil || s.Refresh != fmt.Sprintf("r%d", i+1) || !s.in([]string{"admins"}) {
			t.Fatalf("renewed for the %dth time: %+v, %v", i+1, s, err)
		}
	}
	late := *s
	late.Unsaid = now.Add(-time.Hour).Unix()
	if next, err := l.refresh(m, &late); err != errRefused {
		t.Errorf("an hour later: %+v, %v, want none", next, err)
	}
	says.Store(true)
	if s, err = l.refresh(m, s); err != nil || s.Unsaid != 0 || s.in([]string{"admins"}) || !s.in([]string{"staff"}) {
		t.Errorf("when the provider says again: %+v, %v", s, err)
	}
}

package oidc

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestKeysThatComeLater: a provider that signs with a new key before it shows it renews
// sessions, and nobody can tell of whom: they go on, with each new refresh token, as while its
// keys do not answer. What it says with a key that is known counts at once.
func TestKeysThatComeLater(t *testing.T) {
	var signers [2]jose.Signer
	var shown jose.JSONWebKeySet
	for i := range signers {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprint(i)
		shown.Keys = append(shown.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: "RS256", Use: "sig"})
		if signers[i], err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var both atomic.Bool
	var signer, tokens atomic.Int64
	var audience atomic.Pointer[string]
	ours, others := "serai", "others"
	audience.Store(&ours)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	answer := func(path string, of func() any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(of())
		})
	}
	answer("/.well-known/openid-configuration", func() any {
		return map[string]any{
			"issuer": server.URL, "authorization_endpoint": server.URL + "/a", "token_endpoint": server.URL + "/t", "jwks_uri": server.URL + "/k",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		}
	})
	answer("/k", func() any {
		if both.Load() {
			return shown
		}
		return jose.JSONWebKeySet{Keys: shown.Keys[:1]}
	})
	answer("/t", func() any {
		now := time.Now().Unix()
		payload, _ := json.Marshal(map[string]any{"iss": server.URL, "aud": *audience.Load(), "sub": "ada", "iat": now, "exp": now + 60, "groups": []string{"staff"}})
		signed, err := signers[signer.Load()].Sign(payload)
		if err != nil {
			t.Error(err)
			return nil
		}
		id, _ := signed.CompactSerialize()
		return map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "refresh_token": fmt.Sprintf("r%d", tokens.Add(1)), "id_token": id}
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
	signer.Store(1)
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
	both.Store(true)
	for end := time.Now().Add(time.Minute); s.Unsaid != 0; { // a fetch of the keys may be shared with the last renewal
		if s, err = l.refresh(m, s); err != nil || time.Now().After(end) {
			t.Fatalf("when the key is shown: %+v, %v", s, err)
		}
	}
	if s.in([]string{"admins"}) || !s.in([]string{"staff"}) {
		t.Errorf("when the key is shown: %+v", s)
	}
	audience.Store(&others)
	if next, err := l.refresh(m, s); err != errRefused {
		t.Errorf("with a token for others: %+v, %v, want none", next, err)
	}
}

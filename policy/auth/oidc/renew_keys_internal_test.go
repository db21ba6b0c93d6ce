package oidc

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
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
	var signer atomic.Int64
	var audience atomic.Pointer[string]
	ours, others := "serai", "others"
	audience.Store(&ours)
	r := newRenewals(t)
	r.answers("/k", func() any {
		if both.Load() {
			return shown
		}
		return jose.JSONWebKeySet{Keys: shown.Keys[:1]}
	})
	r.renews(func() map[string]any {
		now := time.Now().Unix()
		payload, _ := json.Marshal(map[string]any{"iss": r.url, "aud": *audience.Load(), "sub": "ada", "iat": now, "exp": now + 60, "groups": []string{"staff"}})
		signed, err := signers[signer.Load()].Sign(payload)
		if err != nil {
			t.Error(err)
			return nil
		}
		id, _ := signed.CompactSerialize()
		return map[string]any{"id_token": id}
	})
	r.begin(nil)
	signer.Store(1)
	r.goesOnForStale()
	both.Store(true)
	for end := time.Now().Add(time.Minute); r.session.Unsaid != 0; { // a fetch of the keys may be shared with the last renewal
		if err := r.refresh(); err != nil || time.Now().After(end) {
			t.Fatalf("when the key is shown: %+v, %v", r.session, err)
		}
	}
	if r.session.in([]string{"admins"}) || !r.session.in([]string{"staff"}) {
		t.Errorf("when the key is shown: %+v", r.session)
	}
	audience.Store(&others)
	if next, err := r.login.refresh(r.metadata, r.session); err != errRefused {
		t.Errorf("with a token for others: %+v, %v, want none", next, err)
	}
}

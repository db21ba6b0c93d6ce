// Package keystest answers: what would an issuer of tokens sign, or somebody who wants to
// pass for one? Only tests import it.
package keystest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// EC, RSA and Ed make private keys.
func EC(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// RSA makes a private key of that many bits.
func RSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Ed makes a private key of Ed25519.
func Ed(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// B64 encodes as tokens are.
func B64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// JWK is a public key as a document has it, with members added or changed.
func JWK(t testing.TB, key any, more map[string]any) map[string]any {
	t.Helper()
	if private, ok := key.(crypto.Signer); ok {
		key = private.Public()
	}
	text, err := jose.JSONWebKey{Key: key}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	maps.Copy(members, more)
	return members
}

// Document is a document of keys.
func Document(t testing.TB, all ...map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": all})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Head is the head of a token.
func Head(algorithm, id string) map[string]any {
	return map[string]any{"alg": algorithm, "kid": id, "typ": "JWT"}
}

// Sign makes a token of a head and claims, which may be texts that are no JSON. Whatever
// the head says, it is signed as the key can with SHA-256: RS256, ES256, EdDSA, or HS256
// with a []byte; not at all with nil.
func Sign(t testing.TB, head, claims, private any) string {
	t.Helper()
	text := func(v any) string {
		if s, ok := v.(string); ok {
			return B64([]byte(s))
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return B64(b)
	}
	input := text(head) + "." + text(claims)
	return input + "." + B64(signature(t, input, private))
}

func signature(t testing.TB, input string, private any) []byte {
	t.Helper()
	sum := sha256.Sum256([]byte(input))
	switch k := private.(type) {
	case *rsa.PrivateKey:
		s, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return s
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		both := make([]byte, 2*size)
		r.FillBytes(both[:size])
		s.FillBytes(both[size:])
		return both
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(input))
	case []byte:
		m := hmac.New(sha256.New, k)
		m.Write([]byte(input))
		return m.Sum(nil)
	}
	return nil
}

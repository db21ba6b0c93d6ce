package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	oidclib "github.com/coreos/go-oidc/v3/oidc"

	"serai/policy/auth/keys"
)

// keySet is the keys that a provider signs with. They are fetched when a token has one that
// is not known; those that are known need no fetch.
type keySet struct{ *oidclib.RemoteKeySet }

// unproved is why VerifySignature refused a token: its keys could not be fetched (away), or
// none of them has signed it (unsigned).
type unproved struct{ away, unsigned bool }

// unprovedKey is the key of an *unproved in a context, which VerifySignature sets.
type unprovedKey struct{}

// VerifySignature implements oidclib.KeySet. Whoever calls it through the library learns
// nothing of its error but its text.
func (k keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, token)
	if why, ok := ctx.Value(unprovedKey{}).(*unproved); ok && err != nil {
		why.away = errors.Unwrap(err) != nil // the library wraps the error of a fetch, and no other
		why.unsigned = !why.away
	}
	if err == nil && weaklySigned(token) {
		return nil, fmt.Errorf("the key that the token is signed with is weak: RSA wants at least %d bits", keys.MinRSA)
	}
	return payload, err
}

// weaklySigned reports whether a token, whose signature is right, was signed with an RSA key
// that is too short: its signature is as long as its modulus (RFC 8017 section 8).
func weaklySigned(token string) bool {
	head, signature := token[:strings.IndexByte(token, '.')], token[strings.LastIndexByte(token, '.')+1:]
	var said struct {
		Algorithm string `json:"alg"`
	}
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	rsa := strings.HasPrefix(said.Algorithm, "RS") || strings.HasPrefix(said.Algorithm, "PS")
	return err != nil || rsa && base64.RawURLEncoding.DecodedLen(len(signature)) < keys.MinRSA/8
}

// signatures are the algorithms of ID tokens: with keys that only the provider has.
var signatures = []string{
	oidclib.RS256, oidclib.RS384, oidclib.RS512, oidclib.ES256, oidclib.ES384, oidclib.ES512, oidclib.PS256, oidclib.PS384, oidclib.PS512, oidclib.EdDSA,
}

// newVerifier makes what checks the tokens that were made for a client.
func (d *discovered) newVerifier(issuer, client string) *oidclib.IDTokenVerifier {
	return oidclib.NewVerifier(issuer, d.keys, &oidclib.Config{
		ClientID:             client,
		SupportedSigningAlgs: slices.DeleteFunc(slices.Clone(d.Algorithms), func(a string) bool { return !slices.Contains(signatures, a) }),
		Now:                  func() time.Time { return time.Now().Add(-longestSkew) }, // for exp
	})
}

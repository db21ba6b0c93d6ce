package oidc

import (
	"context"
	"errors"
	"slices"
	"time"

	oidclib "github.com/coreos/go-oidc/v3/oidc"
)

// keySet is the keys that a provider signs with. They are fetched when a token has one that
// is not known; those that are known need no fetch.
type keySet struct{ *oidclib.RemoteKeySet }

// keysAway is the key of a bool in a context, which VerifySignature sets where the keys
// could not be fetched.
type keysAway struct{}

// VerifySignature implements oidclib.KeySet. Whoever calls it through the library learns
// nothing of its error but its text.
func (k keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, token)
	// The library wraps the error of a fetch, and no other.
	if away, ok := ctx.Value(keysAway{}).(*bool); ok && errors.Unwrap(err) != nil {
		*away = true
	}
	return payload, err
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

package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Algorithms are those that tokens may be signed with: either with pairs of keys, or with
// a secret that both sides have, never both. Whoever may check the one kind needs no
// secret; a list of both would let a public key be taken for a secret (RFC 8725 section
// 2.1).
type Algorithms []jose.SignatureAlgorithm

var (
	withPairs   = Algorithms{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
	withSecrets = Algorithms{jose.HS256, jose.HS384, jose.HS512}
)

// fullySpecified is what RFC 9864 calls EdDSA with the only curve that is supported here,
// since EdDSA does not say which.
const fullySpecified = "Ed25519"

// algorithmOf returns the algorithm of a name.
func algorithmOf(name string) jose.SignatureAlgorithm {
	if name == fullySpecified {
		return jose.EdDSA
	}
	return jose.SignatureAlgorithm(name)
}

// ParseAlgorithms reads names, as they stand in tokens. Without one, all that work with
// pairs of keys are allowed.
func ParseAlgorithms(names []string) (all Algorithms, err error) {
	if len(names) == 0 {
		return withPairs, nil
	}
	for _, name := range names {
		a := algorithmOf(name)
		if !slices.Contains(withPairs, a) && !slices.Contains(withSecrets, a) {
			return nil, fmt.Errorf("%q is not one of %s, %s", name, withPairs, withSecrets)
		}
		if len(all) > 0 && all.Secret() != slices.Contains(withSecrets, a) {
			return nil, errors.New("HS256, HS384 and HS512 need a secret, the others pairs of keys: they do not go together")
		}
		all = append(all, a)
	}
	return all, nil
}

// Secret reports whether they work with a secret.
func (a Algorithms) Secret() bool { return len(a) > 0 && slices.Contains(withSecrets, a[0]) }

// String lists them.
func (a Algorithms) String() string {
	var names []string
	for _, name := range a {
		names = append(names, string(name))
	}
	return strings.Join(names, ", ")
}

// works reports whether an algorithm works with a key, by the key's type: so no key is
// ever taken for one of another type (RFC 8725 section 3.1).
func works(a jose.SignatureAlgorithm, public any) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return slices.Contains(withPairs, a) && (strings.HasPrefix(string(a), "RS") || strings.HasPrefix(string(a), "PS"))
	case *ecdsa.PublicKey:
		return string(a) == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return a == jose.EdDSA
	case []byte:
		return slices.Contains(withSecrets, a)
	}
	return false
}

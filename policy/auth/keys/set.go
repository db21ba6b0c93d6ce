package keys

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// DefaultDocument bounds a document, in bytes, for who reads it.
const DefaultDocument = 256 << 10

// MinRSA is the least length of an RSA modulus, in bits (RFC 7518 section 3.3). The library
// bounds them at 4096.
const MinRSA = 2048

// Bounds of what is in a document.
const (
	mostKeys  = 128
	maxKeyID  = 256 // bytes of a kid
	minSecret = 32  // bytes, RFC 7518 section 3.2; HS384 and HS512 need more
)

// Set is the keys of one document that tokens may be signed with. Never modified.
type Set struct {
	keys []*key
	sum  [sha256.Size]byte // of all keys, in whatever order
	// Ignored says which keys of the document are of no use here, and why.
	Ignored []string
}

// key is one key.
type key struct {
	id        string // kid; empty when it has none
	algorithm string // the only one that it is for; empty for all that work with it
	public    any
}

// jwk is what is read of a key. Its certificates say nothing that is believed here, and
// may be broken; its private members are never wanted.
type jwk struct {
	Type      string   `json:"kty"`
	ID        string   `json:"kid,omitzero"`
	Use       string   `json:"use,omitzero"`
	Ops       []string `json:"key_ops,omitzero"`
	Algorithm string   `json:"alg,omitzero"`
	Curve     string   `json:"crv,omitzero"`
	X         string   `json:"x,omitzero"`
	Y         string   `json:"y,omitzero"`
	N         string   `json:"n,omitzero"`
	E         string   `json:"e,omitzero"`
	K         string   `json:"k,omitzero"`
	D         string   `json:"d,omitzero"`
}

// errPrivate is a key that others should never have got: whoever has it makes tokens.
var errPrivate = errors.New("is a private key")

// ParseSet reads a document: for Algorithms that work with a secret only secrets count,
// else only public keys. Keys of no use are left out, as RFC 7517 section 5 wants it; a
// document without any key of use is an error.
func ParseSet(document []byte, secret bool) (*Set, error) {
	var all struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if _, err := ParseObject(document); err != nil {
		return nil, fmt.Errorf("the document is no JWKS: %w", err)
	}
	if err := json.Unmarshal(document, &all); err != nil || all.Keys == nil {
		return nil, errors.New(`the document is no JWKS: want {"keys": [{...}, ...]}`)
	}
	if len(all.Keys) > mostKeys {
		return nil, fmt.Errorf("the document has more than %d keys", mostKeys)
	}
	s := &Set{}
	var lines []string
	for i, text := range all.Keys {
		k, err := parseKey(text, secret)
		if err != nil {
			s.Ignored = append(s.Ignored, fmt.Sprintf("key %d %s", i+1, err))
			continue
		}
		s.keys = append(s.keys, k)
		lines = append(lines, k.line())
	}
	if len(s.keys) == 0 {
		return nil, errors.New(strings.Join(append([]string{"the document has no usable key"}, s.Ignored...), "; "))
	}
	slices.Sort(lines)
	s.sum = sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return s, nil
}

// parseKey reads a key. Its error says what it is, as part of a sentence.
func parseKey(text []byte, secret bool) (*key, error) {
	var k jwk
	if err := json.Unmarshal(text, &k); err != nil || len(k.ID) > maxKeyID {
		return nil, errors.New("is malformed")
	}
	switch symmetric := k.Type == "oct"; {
	case k.D != "":
		return nil, errPrivate
	case symmetric != secret && symmetric:
		return nil, errors.New("is a secret, and no algorithm that needs one is allowed")
	case symmetric != secret:
		return nil, errors.New("is no secret")
	case k.Use != "" && k.Use != "sig":
		return nil, errors.New("is not for signatures")
	case k.Ops != nil && !slices.Contains(k.Ops, "verify"):
		return nil, errors.New("is not for checking signatures")
	}
	text, err := json.Marshal(jwk{Type: k.Type, Curve: k.Curve, X: k.X, Y: k.Y, N: k.N, E: k.E, K: k.K})
	if err != nil {
		return nil, errors.New("is malformed")
	}
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(text); err != nil {
		return nil, errors.New("is malformed, or of an unknown type")
	}
	if !secret && !parsed.Valid() {
		return nil, errors.New("is not valid")
	}
	switch public := parsed.Key.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < MinRSA || public.E < 3 || public.E%2 == 0 {
			return nil, fmt.Errorf("is weak: RSA wants at least %d bits", MinRSA)
		}
	case []byte:
		if len(public) < minSecret {
			return nil, fmt.Errorf("is weak: a secret wants at least %d bytes", minSecret)
		}
	}
	k.Algorithm = string(algorithmOf(k.Algorithm))
	if k.Algorithm != "" && !works(jose.SignatureAlgorithm(k.Algorithm), parsed.Key) {
		return nil, errors.New("is for an algorithm that is not for signatures, or not for its type")
	}
	return &key{k.ID, k.Algorithm, parsed.Key}, nil
}

// line tells a key from all others.
func (k *key) line() string {
	text, err := jose.JSONWebKey{Key: k.public}.MarshalJSON()
	if err != nil {
		text = fmt.Appendf(nil, "%p", k) // it was read as one: this is not to be expected
	}
	return fmt.Sprintf("%q %q %s", k.id, k.algorithm, text)
}

// Len returns how many keys there are.
func (s *Set) Len() int { return len(s.keys) }

// Private reports whether the document has a private key.
func (s *Set) Private() bool {
	return slices.ContainsFunc(s.Ignored, func(why string) bool { return strings.HasSuffix(why, errPrivate.Error()) })
}

// mostTried bounds the keys that one token is checked with: each takes a tenth of a
// millisecond.
const mostTried = 8

// fitting returns the keys that a token may be signed with: those with its kid, which may
// be several (RFC 7517 section 4.5), or else those without one. A token without kid may
// be signed with any.
func (s *Set) fitting(a jose.SignatureAlgorithm, id string, hasID bool) (all []*key) {
	for _, named := range []bool{true, false} {
		for _, k := range s.keys {
			if hasID && (named && k.id != id || !named && k.id != "") || k.algorithm != "" && k.algorithm != string(a) || !works(a, k.public) {
				continue
			}
			all = append(all, k)
		}
		if len(all) > 0 || !hasID {
			break
		}
	}
	return all
}

package keys

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// What a token is refused for. ErrUnavailable says that it could not be decided, because
// the keys are not known.
var (
	ErrMalformed   = errors.New("the token is malformed")
	ErrAlgorithm   = errors.New("the token is signed with an algorithm that is not accepted")
	ErrUnknownKey  = errors.New("the token is signed with a key that is not known")
	ErrSignature   = errors.New("the signature of the token is wrong")
	ErrUnavailable = errors.New("the signing keys for tokens are not known")
)

// Token is a token whose signature is right.
type Token struct {
	// Type is its typ in lower case and without "application/", empty without one.
	Type string
	// Claims are what it says: strings, json.Numbers, bools, nil, []any and
	// map[string]any.
	Claims map[string]any
	// Set has the key that it was signed with.
	Set *Set
}

// Source has the keys of the moment.
type Source interface {
	// Current returns them, nil when they are not known yet.
	Current() *Set
	// Newer returns other ones than those, which were not enough. It may have them
	// fetched, and call wait for that. The error is ErrUnknownKey when there are no
	// others, ErrUnavailable when that is not known, or what wait returned.
	Newer(than *Set, wait Wait) (*Set, error)
}

// Wait calls f, which may take as long as a Remote's Timeout. Gone is closed when nobody
// needs its result any more. When Wait returns an error, it may not have called f.
type Wait func(f func(gone <-chan struct{})) error

// Current returns the set itself.
func (s *Set) Current() *Set { return s }

// Newer returns none.
func (s *Set) Newer(*Set, Wait) (*Set, error) { return nil, ErrUnknownKey }

var _ Source = (*Set)(nil)

// Verify checks the signature of a token.
func Verify(from Source, text string, allowed Algorithms, wait Wait) (*Token, error) {
	t, err := parse(text, allowed)
	if err != nil {
		return nil, err
	}
	set, err := from.Current(), ErrUnknownKey
	if set != nil {
		err = t.verify(set)
	}
	if err == ErrUnknownKey {
		if set, err = from.Newer(set, wait); err == nil {
			err = t.verify(set)
		}
	}
	if err != nil {
		return nil, err
	}
	claims, err := ParseObject(t.payload)
	if err != nil {
		return nil, ErrMalformed
	}
	return &Token{t.typ, claims, set}, nil
}

// unverified is a token whose signature has not been checked.
type unverified struct {
	jws       *jose.JSONWebSignature
	text      string
	algorithm jose.SignatureAlgorithm
	specified bool // its head calls EdDSA Ed25519
	id        string
	hasID     bool
	typ       string
	payload   []byte // once it is verified
}

// parse reads a token as far as that must be done before its signature is checked.
func parse(text string, allowed Algorithms) (*unverified, error) {
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 { // five are a JWE, which nobody here could decrypt
		return nil, ErrMalformed
	}
	var head []byte
	for i, part := range parts {
		// Strict: one token has one spelling.
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || part == "" || strings.ContainsAny(part, "\r\n") {
			return nil, ErrMalformed
		}
		if i == 0 {
			head = decoded
		}
	}
	t := &unverified{text: text}
	if err := t.readHead(head, allowed); err != nil {
		return nil, err
	}
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{t.algorithm, fullySpecified})
	if err != nil {
		return nil, ErrMalformed
	}
	t.jws = jws
	return t, nil
}

// refused are members that change how a token is to be read: crit names extensions that
// must be understood (RFC 7515 section 4.1.11), and there is none that is; b64 is one of
// them (RFC 7797); enc and zip are of a JWE. A token with jwk brings a key along: it
// proves that somebody has that key, such as in DPoP (RFC 9449), and lets nobody in.
var refused = []string{"crit", "b64", "enc", "zip", "jwk"}

// readHead reads the head. What else says where a key is to be found (jku, x5u, x5c,
// x5t) is ignored.
func (t *unverified) readHead(text []byte, allowed Algorithms) error {
	head, err := ParseObject(text)
	if err != nil {
		return ErrMalformed
	}
	for _, name := range refused {
		if _, has := head[name]; has {
			return ErrMalformed
		}
	}
	algorithm, isText := head["alg"].(string)
	if !isText {
		return ErrMalformed
	}
	t.specified = algorithm == fullySpecified
	if t.algorithm = algorithmOf(algorithm); !slices.Contains(allowed, t.algorithm) {
		return ErrAlgorithm
	}
	if id, has := head["kid"]; has {
		if t.id, t.hasID = id.(string); !t.hasID || len(t.id) > maxKeyID {
			return ErrMalformed
		}
	}
	if typ, has := head["typ"]; has {
		if t.typ, isText = typ.(string); !isText || t.typ == "" {
			return ErrMalformed
		}
		t.typ = strings.TrimPrefix(strings.ToLower(t.typ), "application/")
	}
	return nil
}

// verify looks for the key of a set that the token is signed with.
func (t *unverified) verify(set *Set) (err error) {
	fitting := set.fitting(t.algorithm, t.id, t.hasID)
	if len(fitting) == 0 || len(fitting) > mostTried {
		return ErrUnknownKey
	}
	for _, k := range fitting {
		if t.payload, err = t.check(k.public); err == nil {
			return nil
		}
	}
	if !t.hasID || fitting[0].id != t.id { // it may be of a key that is new
		return ErrUnknownKey
	}
	return ErrSignature
}

// check returns the payload if the token is signed with that key. The library knows EdDSA by
// no other name.
func (t *unverified) check(public any) ([]byte, error) {
	if !t.specified {
		return t.jws.Verify(public)
	}
	key, fits := public.(ed25519.PublicKey)
	input := t.text[:strings.LastIndexByte(t.text, '.')]
	if !fits || !ed25519.Verify(key, []byte(input), t.jws.Signatures[0].Signature) {
		return nil, ErrSignature
	}
	return t.jws.UnsafePayloadWithoutVerification(), nil
}

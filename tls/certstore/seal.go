package certstore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Sealer encrypts secret values with an operator's key, so that reading the store is
// not enough to see them. The nil Sealer does not change values.
type Sealer struct{ aead cipher.AEAD }

// sealedPrefix marks a sealed value.
const sealedPrefix = "sealed:1:"

// ErrSealed says that the value is encrypted with another key, or that no key was given.
var ErrSealed = errors.New("the value is encrypted with another key")

// NewSealer makes a Sealer from a secret of at least 16 bytes, which all that share the
// store must have.
func NewSealer(secret []byte) (*Sealer, error) {
	if len(secret) < 16 {
		return nil, errors.New("a secret must have at least 16 bytes")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "serai certificate store", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Sealer{aead}, err
}

// Seal encrypts a value for one item of one path: it cannot be opened for another.
func (s *Sealer) Seal(path, item, value string) string {
	if s == nil {
		return value
	}
	return sealedPrefix + base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, []byte(value), place(path, item)))
}

// Open is the reverse. A value that was never sealed is returned unchanged, so that a
// store can be sealed later.
func (s *Sealer) Open(path, item, value string) (string, error) {
	text, sealed := strings.CutPrefix(value, sealedPrefix)
	if !sealed {
		return value, nil
	}
	refuse := func() (string, error) {
		return "", fmt.Errorf("open %s of %s: %w", item, path, ErrSealed)
	}
	if s == nil {
		return refuse()
	}
	content, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return refuse()
	}
	open, err := s.aead.Open(nil, nil, content, place(path, item))
	if err != nil {
		return refuse()
	}
	return string(open), nil
}

func place(path, item string) []byte { return []byte(path + "\x00" + item) }

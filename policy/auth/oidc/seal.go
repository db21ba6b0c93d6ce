package oidc

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// mostKeys bounds the keys of a file: each is tried for a cookie that none opens.
const mostKeys = 8

// settling is how long keys that have changed go on sealing with the one that did so before,
// where that is still among them: nodes learn of a change one after the other, and none is to
// meet a cookie that it cannot open yet.
const settling = time.Minute

// Keys seal what browsers keep, and open it. The first seals; the others open what was
// sealed before the keys were changed. Nil opens nothing. Never modified.
type Keys struct {
	aeads []cipher.AEAD
	sums  [][sha256.Size]byte // of the keys
	// before is the place of the key that seals until that moment in place of the first.
	before int
	until  time.Time
}

// ParseKeys reads a key file: 32 bytes as they are, or lines of 32 bytes each in base64 or
// hexadecimal. Its error tells nothing that stands in the file.
func ParseKeys(file []byte) (*Keys, error) {
	k := &Keys{}
	if len(file) == chacha20poly1305.KeySize {
		return k, k.add(file)
	}
	n := 0
	for line := range bytes.Lines(file) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key := decodeKey(string(line))
		if key == nil {
			return nil, fmt.Errorf("line %d is not 32 bytes in base64 or hexadecimal; make one with: openssl rand -base64 32", n)
		}
		if err := k.add(key); err != nil {
			return nil, err
		}
	}
	switch {
	case len(k.aeads) == 0:
		return nil, errors.New("there is no key in it; make one with: openssl rand -base64 32")
	case len(k.aeads) > mostKeys:
		return nil, fmt.Errorf("there are more than %d keys", mostKeys)
	}
	return k, nil
}

// decodeKey returns the 32 bytes of a line, nil if it has not as many.
func decodeKey(line string) []byte {
	for _, decode := range []func(string) ([]byte, error){
		base64.StdEncoding.DecodeString, base64.URLEncoding.DecodeString, base64.RawStdEncoding.DecodeString, base64.RawURLEncoding.DecodeString, hex.DecodeString,
	} {
		if key, err := decode(line); err == nil && len(key) == chacha20poly1305.KeySize {
			return key
		}
	}
	return nil
}

func (k *Keys) add(key []byte) error {
	a, err := chacha20poly1305.NewX(key)
	if err != nil {
		return err
	}
	k.aeads, k.sums = append(k.aeads, a), append(k.sums, sha256.Sum256(key))
	return nil
}

// After returns k for use after other keys, nil for none: for a while it seals with the key
// that they have sealed with, if that is still one of k's.
func (k *Keys) After(last *Keys, now time.Time) *Keys {
	if last == nil {
		return k
	}
	at := slices.Index(k.sums, last.sums[last.sealer(now)])
	if at < 1 {
		return k
	}
	next := *k
	next.before, next.until = at, now.Add(settling)
	return &next
}

// sealer is the place of the key that seals.
func (k *Keys) sealer(now time.Time) int {
	if now.Before(k.until) {
		return k.before
	}
	return 0
}

// purpose is what something was sealed for.
type purpose string

const (
	forSession purpose = "session"
	forAttempt purpose = "attempt"
)

// boundTo makes the bytes that what is sealed is bound to: each part with its length, so
// that no two lists have the same.
func boundTo(p purpose, parts ...string) (aad []byte) {
	aad = append(aad, "serai oidc 1 "...)
	for _, part := range append([]string{string(p)}, parts...) {
		aad = binary.BigEndian.AppendUint32(aad, uint32(len(part)))
		aad = append(aad, part...)
	}
	return aad
}

// seal encrypts text, so that it can be opened in the same context only. Its nonce is
// random, and with 24 bytes large enough for that.
func (k *Keys) seal(text, context []byte) string {
	if k == nil { // they were there when the request came
		return ""
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(text)+chacha20poly1305.Overhead)
	rand.Read(nonce) // it never fails
	return base64.RawURLEncoding.EncodeToString(k.aeads[k.sealer(time.Now())].Seal(nonce, nonce, text, context))
}

// sealedLength is the length of what seal returns for so many bytes.
func sealedLength(text int) int {
	return base64.RawURLEncoding.EncodedLen(chacha20poly1305.NonceSizeX + text + chacha20poly1305.Overhead)
}

// open decrypts what seal has made. It fails for all else.
func (k *Keys) open(sealed string, context []byte) (text []byte, ok bool) {
	if k == nil {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, false
	}
	nonce, rest := raw[:chacha20poly1305.NonceSizeX], raw[chacha20poly1305.NonceSizeX:]
	for _, a := range k.aeads {
		if text, err := a.Open(nil, nonce, rest, context); err == nil {
			return text, true
		}
	}
	return nil, false
}

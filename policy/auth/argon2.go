package auth

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/tg123/go-htpasswd"
	"golang.org/x/crypto/argon2"
)

// argon2Password is a password as the PHC string format writes it:
// $argon2id$v=19$m=65536,t=3,p=4$SALT$HASH.
//
// https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
type argon2Password struct {
	id           bool // argon2id, else argon2i
	memory, time uint32
	threads      uint8
	salt, hash   []byte
}

// Bounds of what one check may cost.
const (
	mostArgonMemory = 256 << 10 // KiB
	mostArgonTime   = 64
)

// acceptArgon2 is an htpasswd.PasswdParser.
func acceptArgon2(s string) (htpasswd.EncodedPasswd, error) {
	parts := strings.Split(s, "$")
	if len(parts) < 2 || parts[0] != "" || !strings.HasPrefix(parts[1], "argon2") {
		return nil, nil
	}
	p := &argon2Password{id: parts[1] == "argon2id"}
	if len(parts) != 6 || !p.id && parts[1] != "argon2i" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, errors.New("is not an argon2id or argon2i hash of version 19")
	}
	var rest string
	if n, _ := fmt.Sscanf(parts[3]+" ", "m=%d,t=%d,p=%d%s", &p.memory, &p.time, &p.threads, &rest); n != 3 {
		return nil, errors.New("has argon2 parameters other than m=N,t=N,p=N")
	}
	if p.memory > mostArgonMemory || p.time > mostArgonTime || p.time < 1 || p.threads < 1 {
		return nil, fmt.Errorf("has argon2 parameters beyond m=%d,t=%d", mostArgonMemory, mostArgonTime)
	}
	var err, err2 error
	p.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	p.hash, err2 = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err != nil || err2 != nil || len(p.salt) < 8 || len(p.hash) < 16 || len(p.hash) > 128 {
		return nil, errors.New("has an argon2 salt or hash that is malformed or too short")
	}
	return p, nil
}

// MatchesPassword implements htpasswd.EncodedPasswd.
func (p *argon2Password) MatchesPassword(password string) bool {
	derive := argon2.Key
	if p.id {
		derive = argon2.IDKey
	}
	hash := derive([]byte(password), p.salt, p.time, p.memory, p.threads, uint32(len(p.hash)))
	return subtle.ConstantTimeCompare(hash, p.hash) == 1
}

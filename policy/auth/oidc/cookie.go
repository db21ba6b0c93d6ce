package oidc

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"serai/policy"
	"serai/wire"
)

// Bounds of cookies. Browsers take 4096 bytes of a name, a value and its attributes (RFC
// 6265bis section 5.6), and servers heads of 8 KiB or more.
const (
	chunkSize  = 3700
	mostChunks = 3
	// mostSealed bounds a sealed session.
	mostSealed = chunkSize * mostChunks
	// mostRead bounds the attempts that are read of a request: all slots, and some that
	// nobody's are.
	mostRead = manySlots + fewSlots + mostAttempts
)

// cookies are what a browser has sent of this auth.
type cookies struct {
	// chunks are the parts of the session.
	chunks [mostChunks]string
	sent   [mostChunks]bool
	// attempts are the logins under way, by the key of their state.
	attempts map[string]string
}

// prefix begins the names of this auth's cookies.
func (l *Login) prefix(secure bool) string {
	if secure {
		return policy.SecureCookie + l.name
	}
	return policy.PlainCookie + l.name
}

// readCookies finds the cookies of this auth. The first of a name counts.
func (l *Login) readCookies(fields []wire.Field, secure bool) (c cookies) {
	prefix := []byte(l.prefix(secure))
	for name, value := range wire.Cookies(fields) {
		if name, own := bytes.CutPrefix(name, prefix); own {
			c.add(string(name), string(value))
		}
	}
	return c
}

// add notes a cookie. Of its name, which follows the auth's: nothing is the session, .1
// and so on are its further parts, .s. and a key are an attempt.
func (c *cookies) add(name, value string) {
	if key, ok := strings.CutPrefix(name, ".s."); ok {
		if _, twice := c.attempts[key]; !twice && len(c.attempts) < mostRead && len(key) == keyLength {
			if c.attempts == nil {
				c.attempts = make(map[string]string)
			}
			c.attempts[key] = value
		}
		return
	}
	n := 0
	if name != "" {
		if len(name) != 2 || name[0] != '.' || name[1] < '1' || name[1] >= '0'+mostChunks {
			return // another auth's, whose name begins with this one's
		}
		n = int(name[1] - '0')
	}
	if !c.sent[n] {
		c.chunks[n], c.sent[n] = value, true
	}
}

// session returns the sealed session, empty when there is none that is whole. The first
// part says how many there are.
func (c *cookies) session() string {
	first := c.chunks[0]
	if len(first) < 2 || first[0] < '1' || first[0] > '0'+mostChunks || first[1] != '.' {
		return ""
	}
	n := int(first[0] - '0')
	if slices.Contains(c.chunks[:n], "") {
		return ""
	}
	return first[2:] + strings.Join(c.chunks[1:n], "")
}

// room divides the keys of the attempts into those that make room for one more, which are the
// oldest, and those that stay. What does not open goes first.
func (l *Login) room(c *cookies, host string) (oldest, stay []string) {
	began := make(map[string]int64, len(c.attempts))
	for key, sealed := range c.attempts {
		if began[key] = 0; len(c.attempts) >= mostAttempts {
			if t := l.unsealAttempt(sealed, host); t != nil {
				began[key] = t.Began
			}
		}
	}
	keys := slices.SortedFunc(maps.Keys(began), func(a, b string) int { return cmp.Or(cmp.Compare(began[a], began[b]), cmp.Compare(a, b)) })
	n := max(0, len(keys)-(mostAttempts-1))
	return keys[:n], keys[n:]
}

// chunkName is the name of a part of the session.
func (l *Login) chunkName(secure bool, n int) string {
	if n == 0 {
		return l.prefix(secure)
	}
	return l.prefix(secure) + "." + strconv.Itoa(n)
}

// attemptName is the name of an attempt's cookie.
func (l *Login) attemptName(secure bool, key string) string { return l.prefix(secure) + ".s." + key }

// setCookie makes the Set-Cookie field of a cookie. Lax, because browsers come back from
// the provider by a link of another site.
func setCookie(name, value string, secure bool, lives time.Duration) wire.Field {
	line := name + "=" + value + "; Path=/; Max-Age=" + strconv.Itoa(int(lives/time.Second)) + "; HttpOnly; SameSite=Lax"
	if secure {
		line += "; Secure"
	}
	return wire.Field{Name: []byte("Set-Cookie"), Value: []byte(line)}
}

// sessionFields make the browser keep a sealed session instead of what it has; empty, none.
func (l *Login) sessionFields(sealed string, has *cookies, secure bool, lives time.Duration) (fields []wire.Field) {
	n := (len(sealed) + chunkSize - 1) / chunkSize
	for i := range mostChunks {
		name := l.chunkName(secure, i)
		switch {
		case i < n:
			value := sealed[i*chunkSize : min((i+1)*chunkSize, len(sealed))]
			if i == 0 {
				value = strconv.Itoa(n) + "." + value
			}
			fields = append(fields, setCookie(name, value, secure, lives))
		case has.sent[i]:
			fields = append(fields, setCookie(name, "", secure, 0))
		}
	}
	return fields
}

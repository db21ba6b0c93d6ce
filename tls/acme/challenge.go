package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// Tokens are looked up once for all who ask within this time, and never more
// than this many at once: strangers can ask, too.
const (
	tokenLife     = 500 * time.Millisecond
	tokenLookups  = 16
	tokenPatience = 5 * time.Second
)

// tokens are the validations that were looked up of late.
type tokens struct {
	mu      sync.Mutex
	byHost  map[string]*lookup
	running int
}

// lookup is one question to the store. challenge is set when done is closed,
// nil when there is none.
type lookup struct {
	done      chan struct{}
	at        time.Time
	challenge *acme.Challenge
}

// AnswerHTTP returns what answers an HTTP-01 validation of a host at a path (RFC
// 8555 section 8.3), if the host is ours to obtain a certificate for and is
// being validated, by whichever serai.
func (i *Issuer) AnswerHTTP(host, path string) (answer string, ok bool) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	c := i.challenge(host)
	if c == nil || c.Type != acme.ChallengeTypeHTTP01 || c.HTTP01ResourcePath() != path {
		return "", false
	}
	i.options.Logger.Info("answered the CA's validation", "host", host, "challenge", c.Type)
	return c.KeyAuthorization, true
}

// AnswerTLS returns the certificate that answers a TLS-ALPN-01 validation of a
// name (RFC 8737), nil when it is not being validated.
func (i *Issuer) AnswerTLS(name string) *tls.Certificate {
	c := i.challenge(strings.ToLower(name))
	if c == nil || c.Type != acme.ChallengeTypeTLSALPN01 {
		return nil
	}
	cert, err := acmez.TLSALPN01ChallengeCert(*c)
	if err != nil {
		i.options.Logger.Error("a validation by the CA cannot be answered", "host", name, "error", err)
		return nil
	}
	i.options.Logger.Info("answered the CA's validation", "host", name, "challenge", c.Type)
	return cert
}

// challenge returns the validation of a host that is under way.
func (i *Issuer) challenge(host string) *acme.Challenge {
	if !i.Wants(host) {
		return nil
	}
	if c, ok := certmagic.GetACMEChallenge(host); ok { // ours
		return &c.Challenge
	}
	l, mine := i.tokens.begin(host)
	if l == nil {
		return nil
	}
	if mine {
		go i.lookUp(host, l)
	}
	<-l.done
	return l.challenge
}

// begin returns a lookup that is fresh, or a new one, which is the caller's to
// make; nil when too many are under way.
func (t *tokens) begin(host string) (l *lookup, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.byHost[host]; l != nil && (l.at.IsZero() || time.Since(l.at) < tokenLife) {
		return l, false
	}
	if t.running >= tokenLookups {
		return nil, false
	}
	if t.byHost == nil {
		t.byHost = make(map[string]*lookup)
	}
	for host, old := range t.byHost {
		if !old.at.IsZero() && time.Since(old.at) >= tokenLife {
			delete(t.byHost, host)
		}
	}
	t.running++
	l = &lookup{done: make(chan struct{})}
	t.byHost[host] = l
	return l, true
}

// lookUp asks the store.
func (i *Issuer) lookUp(host string, l *lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenPatience)
	defer cancel()
	value, err := i.engine.storage.Load(ctx, i.engine.tokenKey(host))
	if err == nil {
		c := new(acme.Challenge)
		if json.Unmarshal(value, c) == nil && strings.EqualFold(c.Identifier.Value, host) {
			l.challenge = c
		}
	}
	i.tokens.mu.Lock()
	l.at = time.Now()
	i.tokens.running--
	i.tokens.mu.Unlock()
	close(l.done)
}

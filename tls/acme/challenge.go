package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/time/rate"
)

// A host's token is looked up once for all who ask within its life, and no more
// than so many lookups are begun in a second: strangers can ask, too.
const (
	tokenLife     = 500 * time.Millisecond
	tokenRate     = 50
	tokenPatience = 5 * time.Second
)

// tokens are the validations that were looked up of late.
type tokens struct {
	limit *rate.Limiter

	mu     sync.Mutex
	byHost map[string]*lookup
}

func newTokens() *tokens {
	return &tokens{limit: rate.NewLimiter(tokenRate, tokenRate), byHost: make(map[string]*lookup)}
}

// lookup is one question to the store. challenge is set when done is closed,
// nil when there is none.
type lookup struct {
	done      chan struct{}
	at        time.Time // when it was done, zero before
	challenge *acme.Challenge
}

// tokenPath is what a CA asks for (RFC 8555 section 8.3).
var tokenPath = regexp.MustCompile(`^/\.well-known/acme-challenge/[A-Za-z0-9_-]{16,128}$`)

// AnswerHTTP returns what answers an HTTP-01 validation of a host at a path (RFC
// 8555 section 8.3), if the host is ours to obtain a certificate for and is
// being validated, by whichever serai.
func (i *Issuer) AnswerHTTP(host, path string) (answer string, ok bool) {
	host = nameOf(host)
	if !tokenPath.MatchString(path) {
		return "", false
	}
	c := i.challenge(host)
	if c == nil || c.Type != acme.ChallengeTypeHTTP01 || c.HTTP01ResourcePath() != path {
		return "", false
	}
	if strings.HasPrefix(c.Token, probePrefix) {
		i.options.Logger.Debug("answered the serai that orders", "host", host)
	} else {
		i.options.Logger.Info("answered the CA's validation", "host", host, "challenge", c.Type)
	}
	return c.KeyAuthorization, true
}

// nameOf returns the name in a Host field.
func nameOf(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
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
	ctx, cancel := context.WithTimeout(context.Background(), tokenPatience)
	defer cancel()
	l, fresh := i.lookup(ctx, host)
	if l != nil && l.challenge == nil && !fresh {
		// It was looked for before the CA asked, and may be there by now:
		// whoever asks all the time must not hide it.
		pause(ctx, time.Until(l.at.Add(tokenLife)))
		l, _ = i.lookup(ctx, host)
	}
	if l == nil {
		return nil
	}
	return l.challenge
}

// lookup asks the store for a host's token, or takes the answer of who has just
// asked; fresh says that the question was put after the call. Nil when there
// was no answer in time.
func (i *Issuer) lookup(ctx context.Context, host string) (l *lookup, fresh bool) {
	t := i.tokens
	t.mu.Lock()
	l = t.byHost[host]
	if l == nil || !l.at.IsZero() && time.Since(l.at) >= tokenLife {
		l, fresh = &lookup{done: make(chan struct{})}, true
		t.byHost[host] = l
	}
	t.mu.Unlock()
	if fresh {
		go i.ask(host, l)
	}
	select {
	case <-l.done:
		return l, fresh
	case <-ctx.Done():
		return nil, fresh
	}
}

// ask puts the question to the store, and forgets the answer soon.
func (i *Issuer) ask(host string, l *lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenPatience)
	defer cancel()
	if i.tokens.limit.Wait(ctx) == nil {
		value, err := i.engine.storage.Load(ctx, i.engine.tokenKey(host))
		c := new(acme.Challenge)
		if err == nil && json.Unmarshal(value, c) == nil && strings.EqualFold(c.Identifier.Value, host) {
			l.challenge = c
		}
	}
	t := i.tokens
	t.mu.Lock()
	l.at = time.Now()
	t.mu.Unlock()
	close(l.done)
	time.AfterFunc(tokenLife, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.byHost[host] == l {
			delete(t.byHost, host)
		}
	})
}

package acme

import (
	"context"
	"crypto/tls"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// answerWithin bounds the wait of a CA, or of anybody else who requests a token.
const answerWithin = 5 * time.Second

// validations counts validation requests, from a CA or anybody else.
type validations struct{ answered, unknown atomic.Uint64 }

// tokenPath is the path that a CA requests (RFC 8555 section 8.3).
var tokenPath = regexp.MustCompile(`^/\.well-known/acme-challenge/[A-Za-z0-9_-]{16,128}$`)

// AnswerHTTP returns the answer to an HTTP-01 validation of a host at a path (RFC 8555
// section 8.3), if serai should obtain a certificate for the host and it is being
// validated, by any serai.
func (i *Issuer) AnswerHTTP(host, path string) (answer string, ok bool) {
	host = nameOf(host)
	if !tokenPath.MatchString(path) || !i.Wants(host) {
		return "", false
	}
	t := i.tokenOf(host)
	if t == nil || t.challenge.Type != acme.ChallengeTypeHTTP01 || t.challenge.HTTP01ResourcePath() != path {
		i.validations.unknown.Add(1)
		return "", false
	}
	i.answered(host, t)
	return t.challenge.KeyAuthorization, true
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
	host := strings.ToLower(name)
	if !i.Wants(host) {
		return nil
	}
	t := i.tokenOf(host)
	if t == nil || t.challenge.Type != acme.ChallengeTypeTLSALPN01 {
		i.validations.unknown.Add(1)
		return nil
	}
	cert, err := t.certificate()
	if err != nil {
		i.options.Logger.Error("cannot answer a validation by the CA", "host", host, "error", err)
		return nil
	}
	i.answered(host, t)
	return cert
}

// answered counts an answer, and logs the first for each token: strangers can request
// TLS-ALPN-01 answers, too.
func (i *Issuer) answered(host string, t *token) {
	i.validations.answered.Add(1)
	switch {
	case t.told.Swap(true):
	case strings.HasPrefix(t.challenge.Token, probePrefix):
		i.options.Logger.Debug("answered the serai that orders", "host", host)
	default:
		i.options.Logger.Info("answered the CA's validation", "host", host, "challenge", t.challenge.Type)
	}
}

// Validations returns how many validation requests, for hosts that want certificates,
// were answered, and how many had no token.
func (i *Issuer) Validations() (answered, unknown uint64) {
	return i.validations.answered.Load(), i.validations.unknown.Load()
}

// tokenOf returns the validation of a host that is in progress, nil for none.
func (i *Issuer) tokenOf(host string) *token {
	if c, ok := certmagic.GetACMEChallenge(host); ok { // begun in this process
		return i.tokens.own(host, &c.Challenge)
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	return i.tokens.find(ctx, host)
}

// certificate returns the TLS-ALPN-01 answer for the token. It is made once: strangers
// can request it as often as they like.
func (t *token) certificate() (*tls.Certificate, error) {
	t.make.Do(func() { t.cert, t.err = acmez.TLSALPN01ChallengeCert(*t.challenge) })
	return t.cert, t.err
}

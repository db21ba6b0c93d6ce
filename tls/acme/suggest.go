package acme

import (
	"context"
	"time"

	"serai/internal/sleep"
	"serai/tls"
)

// suggestion is when the CA suggests to renew one certificate.
type suggestion struct {
	serial string
	renew  time.Time // zero when the CA does not say
	again  time.Time // when to ask again
}

const (
	// askAgain is when the CA is asked again, unless it says when.
	askAgain = 6 * time.Hour
	// askAgainLatest bounds what it says (RFC 9773 section 4.3.2): a suggestion to renew soon,
	// as when certificates are to be revoked, must be seen.
	askAgainLatest = 24 * time.Hour
)

// askCA asks the CA when each certificate should be renewed, a few a second.
// Certificates with a lifetime too short for that are renewed by their age.
func (l *leader) askCA(ctx context.Context) {
	for ctx.Err() == nil {
		for host := range l.mirror.hosts() {
			e := l.certOf(host)
			if ctx.Err() != nil || e == nil || e.cert == nil || !l.Wants(host) || life(e.cert) < 2*time.Hour {
				continue
			}
			l.mu.Lock()
			s := l.suggestions[host]
			l.mu.Unlock()
			serial := e.cert.Leaf.SerialNumber.String()
			if s != nil && s.serial == serial && time.Now().Before(s.again) {
				continue
			}
			if s == nil || s.serial != serial {
				s = &suggestion{serial: serial}
			}
			fresh := l.ask(ctx, s, e.cert)
			l.mu.Lock()
			l.suggestions[host] = fresh
			l.mu.Unlock()
			at, _ := l.renewal(host, e.cert)
			l.noteRenewal(host, at)
			if time.Until(at) < time.Minute {
				l.look()
			}
			sleep.For(ctx, 200*time.Millisecond)
		}
		sleep.For(ctx, 5*time.Second)
	}
}

// ask asks about one certificate. A time that was chosen in a window stays while the CA
// suggests the same window.
func (l *leader) ask(ctx context.Context, old *suggestion, c *tls.Certificate) *suggestion {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	fresh := &suggestion{serial: old.serial, renew: old.renew, again: nextAsk(nil, time.Now())}
	ari, err := l.engine.suggestion(ctx, c.Leaf)
	if err != nil {
		return fresh
	}
	if window := ari.SuggestedWindow; old.renew.Before(window.Start) || old.renew.After(window.End) {
		fresh.renew = ari.SelectedTime
	}
	fresh.again = nextAsk(ari.RetryAfter, time.Now())
	return fresh
}

// nextAsk is when the CA is asked again, which may have said when; nil if it has not.
func nextAsk(told *time.Time, now time.Time) time.Time {
	if told == nil || !told.After(now.Add(time.Hour)) {
		return now.Add(askAgain)
	}
	return earliest(*told, now.Add(askAgainLatest))
}

// noteRenewal publishes when a certificate will be renewed, as the leader sees it.
func (i *Issuer) noteRenewal(host string, at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.renewals[host] = at
}

// forget drops what only the leader knows.
func (i *Issuer) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.renewals)
	clear(i.unstored)
}

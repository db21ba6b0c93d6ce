package acme

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"serai/tls"
	"serai/tls/certstore"
)

// leader is what only the serai knows that orders.
type leader struct {
	*Issuer
	mu     sync.Mutex
	busy   map[string]bool        // hosts with an order under way
	asked  map[string]bool        // hosts whose renewal was asked for
	advice map[string]*suggestion // by path of the certificate
	paused time.Time              // until when the CA wants no order at all
}

// suggestion is the CA's word on when to renew one certificate.
type suggestion struct {
	serial string
	renew  time.Time // zero when the CA does not say
	again  time.Time // when to ask again
}

// lead orders what is missing or due until ctx ends.
func (i *Issuer) lead(ctx context.Context) {
	l := &leader{Issuer: i, busy: make(map[string]bool), asked: make(map[string]bool), advice: make(map[string]*suggestion)}
	var running sync.WaitGroup
	defer running.Wait()
	if i.options.TicketLife > 0 {
		running.Go(func() { l.turnTickets(ctx) })
	}
	if i.engine == nil {
		<-ctx.Done()
		return
	}
	running.Go(func() { l.followRequests(ctx) })
	running.Go(func() { l.askCA(ctx) })
	running.Go(func() { l.tidy(ctx) })
	slots := make(chan struct{}, i.options.Workers)
	for ctx.Err() == nil {
		began := time.Now()
		next := began.Add(time.Minute)
		for _, host := range i.options.Hosts() {
			if !i.Wants(host) || i.options.Certificates.Given(host) {
				continue
			}
			at, reason := l.due(host)
			if wait := time.Until(at); wait > 0 {
				if at.Before(next) {
					next = at
				}
				continue
			}
			if !l.begin(host) {
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				l.end(host)
				return
			}
			running.Go(func() {
				defer func() { <-slots; l.end(host); i.Changed() }()
				l.order(ctx, host, reason)
			})
		}
		took := time.Since(began)
		select {
		case <-ctx.Done():
		case <-i.wake:
			// Changes come in crowds: looking takes at most a tenth of a core.
			pause(ctx, max(50*time.Millisecond, 10*took))
		case <-time.After(time.Until(next)):
		}
	}
}

// begin marks an order, unless there is one.
func (l *leader) begin(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[host] {
		return false
	}
	l.busy[host] = true
	return true
}

func (l *leader) end(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, host)
}

// due returns when a certificate for the host should be ordered, and why.
func (l *leader) due(host string) (time.Time, string) {
	l.mu.Lock()
	asked, paused := l.asked[host], l.paused
	l.mu.Unlock()
	if asked {
		return time.Time{}, "it was asked for by serai certs renew"
	}
	at, reason := time.Time{}, "the host has none"
	switch e := l.mirror.at(certPath(l.engine.ca, host)); {
	case e == nil:
	case e.sealed:
		// Others have the key, and would be overwritten by who does not.
		at = time.Now().Add(time.Hour)
	case e.problem != "":
		reason = "the one in the store cannot be used"
	case e.cert != nil:
		at, reason = l.renewal(e.cert)
	}
	if f := l.mirror.failureOf(host); f != nil && f.Next.After(at) {
		at = f.Next
	}
	if paused.After(at) {
		at = paused
	}
	return at, reason
}

// renewal returns when a certificate should be renewed: when the CA suggests,
// or else when a third of its life is left; and never with less than a
// twentieth.
func (l *leader) renewal(c *tls.Certificate) (time.Time, string) {
	life := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)
	at, reason := c.Leaf.NotAfter.Add(-life/3), "less than a third of its life is left"
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.advice[certPath(l.engine.ca, c.Names[0])]
	if s == nil || s.serial != c.Leaf.SerialNumber.String() || s.renew.IsZero() {
		return at, reason
	}
	if last := c.Leaf.NotAfter.Add(-life / 20); s.renew.After(last) {
		return last, "it expires soon"
	}
	return s.renew, "the CA suggests it (RFC 9773)"
}

// order obtains a certificate, if it still has to be, and keeps what became of
// it.
func (l *leader) order(ctx context.Context, host, reason string) {
	ctx, cancel := context.WithTimeout(ctx, l.options.OrderTimeout)
	defer cancel()
	path := certPath(l.engine.ca, host)
	s, r, err := l.engine.siteFor(ctx, host)
	if err != nil {
		l.options.Logger.Warn("no certificate can be ordered while the store cannot be read", "host", host, "error", err)
		l.count("store-failed")
		pause(ctx, 5*time.Second)
		return
	}
	if r != nil {
		// Another may have been the leader and done it.
		l.mirror.take(r)
		l.mirror.publish()
		at, again := l.due(host)
		if time.Now().Before(at) {
			return
		}
		reason = again
	}
	l.options.Logger.Info("ordering a certificate", "host", host, "reason", reason, "ca", l.options.Directory)
	began := time.Now()
	err = l.engine.order(ctx, s)
	if err != nil {
		l.failed(ctx, host, err)
		return
	}
	l.count("ok")
	// The copy in memory must be the new one before the next look.
	for l.mirror.refresh(ctx, path) != nil && ctx.Err() == nil {
		pause(ctx, time.Second)
	}
	attrs := []any{"host", host, "reason", reason, "took", time.Since(began).Round(time.Millisecond)}
	if e := l.mirror.at(path); e != nil && e.cert != nil {
		attrs = append(attrs, "expires", e.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	l.options.Logger.Info("certificate obtained", attrs...)
	l.done(ctx, host)
}

// done removes what a success has made void.
func (l *leader) done(ctx context.Context, host string) {
	if l.mirror.failureOf(host) != nil {
		if err := l.options.Store.Delete(ctx, failurePath(host)); err == nil {
			l.mirror.refresh(ctx, failurePath(host))
		}
	}
	l.answerRequest(ctx, host)
}

func (l *leader) answerRequest(ctx context.Context, host string) {
	l.mu.Lock()
	asked := l.asked[host]
	delete(l.asked, host)
	l.mu.Unlock()
	if asked {
		if err := l.options.Store.Delete(ctx, RequestPath(host)); err != nil {
			l.options.Logger.Warn("a request for a renewal stays in the store", "host", host, "error", err)
		}
	}
}

// retryAfter returns the wait after so many failures of one host in a row: a
// load balancer that finds serai ready a moment later costs seconds, and a CA
// that allows five failures an hour is not angered (as Let's Encrypt does,
// https://letsencrypt.org/docs/rate-limits/).
func (o *Options) retryAfter(attempts int) time.Duration {
	return min(o.FirstRetry<<min(2*max(attempts-1, 0), 20), maxRetry)
}

// The waits after failures.
const (
	maxRetry    = 6 * time.Hour
	afterLimit  = 15 * time.Minute // a host that the CA will not take an order for now
	whenLimited = time.Minute      // all hosts, then
)

// failed keeps and logs a failure, and says when the host is tried again.
func (l *leader) failed(ctx context.Context, host string, err error) {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return // not the leader any more, or stopping
	}
	now := time.Now()
	f := &Failure{Host: host, Error: shorten(err.Error()), Attempts: 1, Last: now}
	if old := l.mirror.failureOf(host); old != nil {
		f.Attempts = old.Attempts + 1
	}
	wait := l.options.retryAfter(f.Attempts)
	result := "failed"
	var problem acme.Problem
	switch {
	case errors.As(err, &problem) && problem.Type == acme.ProblemTypeRateLimited:
		result = "rate-limited"
		wait = max(wait, afterLimit)
		l.mu.Lock()
		l.paused = now.Add(whenLimited)
		l.mu.Unlock()
	case errors.Is(err, certstore.ErrConflict):
		result = "conflict"
	}
	if e := l.mirror.at(certPath(l.engine.ca, host)); e != nil && e.cert != nil {
		// What expires soon cannot wait so long.
		if left := time.Until(e.cert.Leaf.NotAfter); left > 0 && result == "failed" {
			wait = min(wait, max(left/5, time.Second))
		}
	}
	f.Next = now.Add(wait + mathrand.N(wait/5+1))
	l.count(result)
	l.options.Logger.Error("no certificate was obtained", "host", host, "attempts", f.Attempts, "next", f.Next.UTC().Format(time.RFC3339), "error", f.Error)
	l.answerRequest(context.WithoutCancel(ctx), host)
	l.keep(context.WithoutCancel(ctx), f)
}

// keep writes a failure to the store, so that every serai shows it and the next
// leader heeds it. While that cannot be done, memory has it.
func (l *leader) keep(ctx context.Context, f *Failure) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	path, version := failurePath(f.Host), uint64(0)
	if r, err := l.options.Store.Get(ctx, path); err == nil {
		version = r.Version
	}
	version, err := l.options.Store.Put(ctx, path, f.items(), version)
	if err != nil {
		l.options.Logger.Warn("a failed order is not in the store for others to see", "host", f.Host, "error", err)
	}
	l.mirror.take(&certstore.Record{Path: path, Items: f.items(), Version: version})
}

// shorten bounds what a CA says, and makes it one line.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), 1000)]
}

// followRequests learns of renewals that are asked for.
func (l *leader) followRequests(ctx context.Context) {
	index := uint64(0)
	for ctx.Err() == nil {
		entries, next, err := l.options.Store.List(ctx, requests, index)
		if err != nil {
			pause(ctx, 5*time.Second)
			continue
		}
		index = next
		for _, e := range entries {
			r, err := l.options.Store.Get(ctx, e.Path)
			if err != nil {
				continue
			}
			host := r.Items["name"]
			if RequestPath(host) != e.Path || !l.Wants(host) {
				l.options.Logger.Warn("a renewal was asked for of a host that no route wants a certificate for", "host", host)
				l.options.Store.Delete(ctx, e.Path)
				continue
			}
			l.mu.Lock()
			l.asked[host] = true
			l.mu.Unlock()
		}
		l.Changed()
	}
}

// askAgain is when the CA is asked again, unless it says itself when.
const askAgain = 6 * time.Hour

// askCA asks the CA when each certificate should be renewed, a few a second.
// For those that live shorter than what it takes to ask now and then, their age
// decides.
func (l *leader) askCA(ctx context.Context) {
	for ctx.Err() == nil {
		for host := range l.mirror.hosts() {
			path := certPath(l.engine.ca, host)
			e := l.mirror.at(path)
			if e == nil || e.cert == nil || !l.Wants(host) || e.cert.Leaf.NotAfter.Sub(e.cert.Leaf.NotBefore) < 2*time.Hour {
				continue
			}
			serial := e.cert.Leaf.SerialNumber.String()
			l.mu.Lock()
			s := l.advice[path]
			l.mu.Unlock()
			if s != nil && s.serial == serial && time.Now().Before(s.again) {
				continue
			}
			attempt, cancel := context.WithTimeout(ctx, time.Minute)
			ari, err := l.engine.suggestion(attempt, e.cert.Leaf)
			cancel()
			kept := &suggestion{serial: serial, again: time.Now().Add(askAgain)}
			if s != nil && s.serial == serial {
				kept.renew = s.renew
			}
			if window := ari.SuggestedWindow; err == nil {
				if kept.renew.Before(window.Start) || kept.renew.After(window.End) {
					kept.renew = ari.SelectedTime
				}
				if ari.RetryAfter != nil && ari.RetryAfter.After(time.Now().Add(time.Hour)) {
					kept.again = *ari.RetryAfter
				}
			}
			l.mu.Lock()
			l.advice[path] = kept
			l.mu.Unlock()
			l.noteRenewals()
			l.Changed()
			pause(ctx, 200*time.Millisecond)
		}
		pause(ctx, 5*time.Second)
	}
}

// noteRenewals shows what the CA suggests.
func (l *leader) noteRenewals() {
	at := make(map[string]time.Time)
	for host := range l.mirror.hosts() {
		if e := l.mirror.at(certPath(l.engine.ca, host)); e != nil && e.cert != nil {
			at[host], _ = l.renewal(e.cert)
		}
	}
	l.Issuer.mu.Lock()
	defer l.Issuer.mu.Unlock()
	l.renewals = at
}

// keptFor is how long an expired certificate of a host that nobody wants stays
// in the store.
const keptFor = 30 * 24 * time.Hour

// tidy removes what has expired long ago, and failures of hosts that are gone.
func (l *leader) tidy(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, 10*time.Minute)
		for _, paths := range l.mirror.hosts() {
			for _, path := range paths {
				if e := l.mirror.at(path); e != nil && time.Since(e.cert.Leaf.NotAfter) > keptFor && ctx.Err() == nil {
					l.options.Store.Delete(ctx, path)
				}
			}
		}
		for _, f := range l.mirror.failures() {
			if !l.Wants(f.Host) && time.Since(f.Last) > 24*time.Hour && ctx.Err() == nil {
				l.options.Store.Delete(ctx, failurePath(f.Host))
			}
		}
	}
}

// ticketKeys is how many keys are kept: a session can be resumed for at least
// so many ticket lives, less one.
const ticketKeys = 3

// turnTickets makes a new key for session tickets now and then.
func (l *leader) turnTickets(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := l.turnTicketsOnce(ctx)
		if err != nil && ctx.Err() == nil {
			l.options.Logger.Warn("the keys of session tickets stay as they are", "error", err)
			wait = time.Minute
		}
		pause(ctx, wait)
	}
}

// turnTicketsOnce does so when it is time, and returns when it is the next
// time.
func (l *leader) turnTicketsOnce(ctx context.Context) (time.Duration, error) {
	now := &tickets{since: time.Now()}
	version := uint64(0)
	r, err := l.options.Store.Get(ctx, ticketPath)
	switch {
	case errors.Is(err, certstore.ErrNotFound):
	case err != nil:
		return 0, err
	default:
		version = r.Version
		old, err := readTickets(r, l.options.Sealer)
		if errors.Is(err, certstore.ErrSealed) {
			return 0, fmt.Errorf("%w; all serai need the same --cert-key-file", err)
		}
		if err == nil {
			if left := l.options.TicketLife - time.Since(old.since); left > 0 {
				return left, nil
			}
			now.keys = old.keys[:min(len(old.keys), ticketKeys-1)]
		}
	}
	var fresh tls.TicketKey
	rand.Read(fresh[:])
	now.keys = append([]tls.TicketKey{fresh}, now.keys...)
	if _, err := l.options.Store.Put(ctx, ticketPath, now.items(l.options.Sealer), version); err != nil {
		return 0, err
	}
	return l.options.TicketLife, nil
}

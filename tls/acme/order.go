package acme

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"serai/tls/certstore"
)

// order obtains a certificate, if it still has to be, and keeps what became of
// it.
func (l *leader) order(ctx context.Context, host, reason string) {
	if !l.awaitPeers(ctx, host) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.options.OrderTimeout)
	defer cancel()
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
	// Every other attempt is made without the name of what it replaces.
	f := l.mirror.failureOf(host)
	if err := l.engine.order(ctx, s, f != nil && f.Attempts%2 == 1); err != nil {
		l.failed(ctx, s, err)
		return
	}
	l.count("ok")
	l.options.Logger.Info("certificate obtained", "host", host, "reason", reason, "took", time.Since(began).Round(time.Millisecond))
	l.done(ctx, s)
}

// done shows what was obtained, and removes what that has made void.
func (l *leader) done(ctx context.Context, s *site) {
	// The copy in memory must be the new one before the next look.
	for l.mirror.refresh(ctx, s.path) != nil && ctx.Err() == nil {
		pause(ctx, time.Second)
	}
	l.mu.Lock()
	l.obtained[s.host] = time.Now()
	delete(l.later, s.host)
	l.mu.Unlock()
	if l.mirror.failureOf(s.host) != nil {
		if err := l.options.Store.Delete(ctx, failurePath(s.host)); err == nil {
			l.mirror.refresh(ctx, failurePath(s.host))
		}
	}
	l.answer(ctx, s.host)
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
func (l *leader) failed(ctx context.Context, s *site, err error) {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return // not the leader any more, or stopping
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	result := "failed"
	var problem acme.Problem
	switch {
	case errors.As(err, &problem) && problem.Type == acme.ProblemTypeRateLimited:
		result = "rate-limited"
	case errors.Is(err, certstore.ErrConflict):
		result = "conflict"
		if r, err := l.options.Store.Get(ctx, s.path); err == nil {
			if _, _, err := readCertificate(r, l.options.Sealer); err == nil {
				// Another one has obtained it meanwhile.
				l.count(result)
				l.done(ctx, s)
				return
			}
		}
	}
	l.count(result)
	f := newFailure(s.host, err, l.mirror.failureOf(s.host))
	f.Next = f.Last.Add(l.patience(s, f.Attempts, result))
	l.options.Logger.Error("no certificate was obtained", "host", s.host, "attempts", f.Attempts, "next", f.Next.UTC().Format(time.RFC3339), "error", f.Error)
	l.keep(ctx, f)
	l.answer(ctx, s.host)
}

// patience returns how long a host waits after a failure.
func (l *leader) patience(s *site, attempts int, result string) time.Duration {
	wait := l.options.retryAfter(attempts)
	if result == "rate-limited" {
		wait = max(wait, afterLimit)
		l.mu.Lock()
		l.paused = time.Now().Add(whenLimited)
		l.mu.Unlock()
	} else if e := l.mirror.at(s.path); e != nil && e.cert != nil {
		// What expires soon cannot wait so long.
		if left := time.Until(e.cert.Leaf.NotAfter); left > 0 {
			wait = min(wait, max(left/5, time.Second))
		}
	}
	return wait + rand.N(wait/5+1)
}

// keep writes a failure to the store, so that every serai shows it and the next
// leader heeds it. While that cannot be done, this one does.
func (l *leader) keep(ctx context.Context, f *Failure) {
	path, version := failurePath(f.Host), uint64(0)
	if r, err := l.options.Store.Get(ctx, path); err == nil {
		version = r.Version
	}
	version, err := l.options.Store.Put(ctx, path, f.items(), version)
	if err != nil {
		l.options.Logger.Warn("a failed order is not in the store for others to see", "host", f.Host, "error", err)
		l.mu.Lock()
		l.later[f.Host] = f.Next
		l.mu.Unlock()
		return
	}
	l.mirror.take(&certstore.Record{Path: path, Items: f.items(), Version: version})
}

package acme

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"serai/internal/history"
	"serai/internal/sleep"
	"serai/tls/certstore"
)

// order obtains a certificate, if that is still necessary, and stores the result. It
// returns how many orders it made at the CA, and whether one brought a certificate.
func (l *leader) order(ctx context.Context, t *task) (orders int, issued bool) {
	if !l.awaitPeers(ctx, t.Name) {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, l.options.OrderTimeout)
	defer cancel()
	s, r, err := l.engine.siteFor(ctx, t.Host)
	if err != nil {
		l.options.Logger.Warn("no certificate can be ordered while the store cannot be read", "host", t.Name, "error", err)
		l.count("store-failed")
		sleep.For(ctx, 5*time.Second)
		return 0, false
	}
	reason := t.reason
	if r != nil {
		// Another leader may have done it.
		l.mirror.take(r)
		l.mirror.publish()
		again := l.due(t.Host)
		if again.at.After(time.Now()) {
			return 0, false
		}
		reason = again.reason
	}
	history.Tell(l.options.Logger, slog.LevelInfo, history.CertificateOrdered, "ordering a certificate", "host", t.Name, "namespace", t.Namespace, "reason", reason, "ca", l.options.Directory)
	began := time.Now()
	if err := l.engine.order(ctx, s, l.failureOf(t.Name).unnamed()); err != nil {
		l.failed(ctx, t, s, err)
		return ordersMade(s, err), false
	}
	l.count("ok")
	kind := history.CertificateObtained
	if t.replaces {
		kind = history.CertificateRenewed
	}
	history.Tell(l.options.Logger, slog.LevelInfo, kind, "certificate obtained", "host", t.Name, "namespace", t.Namespace, "reason", reason, "took", time.Since(began).Round(time.Millisecond))
	l.mu.Lock()
	delete(l.paused, t.Namespace)
	l.ca = busyCA{}
	l.mu.Unlock()
	l.done(ctx, s)
	return max(s.validations, 1), true
}

// ordersMade returns how many orders the CA has counted for a failed one: those with a
// validation, and not those that it refused.
func ordersMade(s *site, err error) int {
	var problem acme.Problem
	if errors.As(err, &problem) && problem.Type != acme.ProblemTypeRateLimited {
		return max(s.validations, 1)
	}
	return s.validations
}

// done shows the new certificate, and removes what is obsolete now.
func (l *leader) done(ctx context.Context, s *site) {
	// The copy in memory must be the new one before the next walk.
	for l.mirror.refresh(ctx, s.path) != nil && ctx.Err() == nil {
		sleep.For(ctx, time.Second)
	}
	l.mu.Lock()
	l.obtained[s.host] = time.Now()
	l.mu.Unlock()
	l.noteUnstored(s.host, nil)
	if l.mirror.failureOf(s.host) != nil {
		if err := l.options.Store.Delete(ctx, failurePath(s.host)); err == nil {
			l.mirror.refresh(ctx, failurePath(s.host))
		}
	}
	l.answer(ctx, s.host)
}

// retryAfter returns the wait after so many failures of one host in a row. When the
// load balancer finds serai ready a moment later, this costs only seconds; and a CA
// that permits five failures an hour is not exceeded (such as Let's Encrypt,
// https://letsencrypt.org/docs/rate-limits/).
func (o *Options) retryAfter(attempts int) time.Duration {
	return min(o.FirstRetry<<min(2*max(attempts-1, 0), 20), maxRetry)
}

// The waits after failures.
const (
	maxRetry    = 6 * time.Hour
	afterLimit  = 15 * time.Minute // for a host whose order the CA refused for its limits
	whenLimited = time.Minute      // for the other hosts of its namespace, then
	// longestLimit bounds what a CA says: a week, the longest of its limits.
	longestLimit = 7 * 24 * time.Hour
)

// failed stores and logs a failure, and sets when the host is tried again.
func (l *leader) failed(ctx context.Context, t *task, s *site, err error) {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return // not the leader any more, or stopping
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	result, refused := "failed", refusalOf(err)
	switch {
	case refused.limited:
		result = "rate-limited"
	case errors.Is(err, certstore.ErrConflict):
		result = "conflict"
		if r, err := l.options.Store.Get(ctx, s.path); err == nil {
			if _, _, err := readCertificate(r, l.options.Sealer); err == nil {
				// Another serai has obtained it meanwhile.
				l.count(result)
				l.done(ctx, s)
				return
			}
		}
	}
	l.count(result)
	f := newFailure(s.host, err, l.failureOf(s.host))
	failures := l.options.Limits.failures()
	f.Spent = time.Time(failures.take(failures.believed(spent(f.Spent), f.Last), s.validations, f.Last))
	// Another try may fail as many times as there are kinds of validation.
	f.Next = latest(f.Last.Add(l.retryIn(t, f.Attempts, refused, ofCA(err, refused))), failures.at(spent(f.Spent), t.cost, 0, f.Last))
	history.Tell(l.options.Logger, slog.LevelError, history.CertificateFailed, "no certificate was obtained", "host", s.host, "namespace", t.Namespace, "attempts", f.Attempts, "next", f.Next.UTC().Format(time.RFC3339), "error", f.Error)
	l.keep(ctx, f)
	l.answer(ctx, s.host)
}

// retryIn returns how long a host waits after a failure. After a CA has refused an
// order for its limits, nothing of that namespace is ordered for a while; other
// namespaces go on, because most limits are per domain or host. A CA that is busy says for
// how long. After a failure of the CA alone, nothing at all is ordered for a while.
func (l *leader) retryIn(t *task, attempts int, refused refusal, ofCA bool) time.Duration {
	wait := l.options.retryAfter(attempts)
	told := time.Duration(0)
	if refused.limited || refused.status != 0 {
		told = l.engine.toldToWait(refused.status)
	}
	if ofCA {
		l.mu.Lock()
		l.ca.failed(told, time.Now())
		l.mu.Unlock()
	}
	if refused.limited {
		wait = max(wait, afterLimit, min(told, longestLimit))
		l.mu.Lock()
		l.paused[t.Namespace] = time.Now().Add(min(max(whenLimited, told), afterLimit))
		l.mu.Unlock()
	} else if e := l.certOf(t.Name); e != nil && e.cert != nil {
		// A certificate that expires soon cannot wait that long.
		if left := time.Until(e.cert.Leaf.NotAfter); left > 0 {
			wait = min(wait, max(left/5, time.Second))
		}
	}
	if !refused.limited {
		wait = max(wait, min(told, maxRetry))
	}
	return wait + rand.N(wait/5+1)
}

// keep writes a failure to the store, so that every serai shows it and the next leader
// respects it. If that fails, only this leader knows it: as long as nothing can be stored,
// each order fails, and without the number of failures they would come without a pause.
func (l *leader) keep(ctx context.Context, f *Failure) {
	path, version := failurePath(f.Host), uint64(0)
	if r, err := l.options.Store.Get(ctx, path); err == nil {
		version = r.Version
	}
	version, err := l.options.Store.Put(ctx, path, f.items(), version)
	if err != nil {
		l.options.Logger.Warn("cannot store a failed order for others to see", "host", f.Host, "error", err)
		l.noteUnstored(f.Host, f)
		return
	}
	l.noteUnstored(f.Host, nil)
	l.mirror.take(&certstore.Record{Path: path, Items: f.items(), Version: version})
}

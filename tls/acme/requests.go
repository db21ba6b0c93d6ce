package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"serai/internal/history"
	"serai/internal/sleep"
	"serai/tls/certstore"
)

// request is a requested renewal.
type request struct {
	path    string
	version uint64
}

// newTurns bounds how often the store is listed, also where it answers at once each time: Nomad
// does when a variable changes that is near by, whoever writes it.
func newTurns() *rate.Limiter { return rate.NewLimiter(5, 20) }

// followRequests watches for requested renewals.
func (l *leader) followRequests(ctx context.Context) {
	index, turns := uint64(0), newTurns()
	for turns.Wait(ctx) == nil {
		entries, next, err := l.options.Store.List(ctx, requests, index)
		if err != nil {
			sleep.For(ctx, 5*time.Second)
			continue
		}
		index = next
		for _, e := range entries {
			r, err := l.options.Store.Get(ctx, e.Path)
			if err == nil {
				l.take(ctx, r)
			}
		}
		l.look()
	}
}

// take records a request, or refuses it with the reason.
func (l *leader) take(ctx context.Context, r *certstore.Record) {
	host := r.Items["name"]
	if RequestPath(host) != r.Path {
		l.options.Store.Delete(ctx, r.Path)
		return
	}
	l.mu.Lock()
	old := l.answered[r.Path] == r.Version
	if !old {
		l.asked[host] = request{r.Path, r.Version}
	}
	l.mu.Unlock()
	refusal := ""
	switch e := l.certOf(host); {
	case old: // it could not be removed when it was answered
		l.options.Store.Delete(ctx, r.Path)
		return
	case !l.Wants(host):
		refusal = "no route wants a certificate for this host, or --acme-hosts does not allow it"
	case l.options.Certificates.Given(host):
		refusal = "a certificate of --cert-dir covers this host: none is ordered"
	case e != nil && e.sealed:
		refusal = e.problem
	}
	if refusal != "" {
		history.Tell(l.options.Logger, slog.LevelWarn, history.CertificateFailed, "a requested renewal is refused", "host", host, "reason", refusal)
		l.keep(ctx, &Failure{Host: host, Error: refusal, Attempts: 1, Last: time.Now(), Next: time.Now()})
		l.answer(ctx, host)
	}
}

// answer removes a request, which tells Renew that it is done, or refused.
func (l *leader) answer(ctx context.Context, host string) {
	l.mu.Lock()
	r, asked := l.asked[host]
	if asked {
		delete(l.asked, host)
		l.answered[r.path] = r.version
	}
	l.mu.Unlock()
	if asked {
		if err := l.options.Store.Delete(ctx, r.path); err != nil {
			l.options.Logger.Warn("cannot remove a request for a renewal from the store", "host", host, "error", err)
		}
	}
}

// lookForAnswer is the time between two checks for an answer.
const lookForAnswer = 500 * time.Millisecond

// Renew asks whichever serai orders certificates to renew the one of a host now, passes
// the leader's name to asked, and waits until that is done or has failed; it does not
// wait when timeout is 0.
func Renew(ctx context.Context, store certstore.Store, host string, timeout time.Duration, asked func(leader string)) error {
	leader, err := store.Leader(ctx)
	if err != nil {
		return fmt.Errorf("ask for a renewal: %w", err)
	}
	if leader == "" {
		return errors.New("ask for a renewal: no serai has ever ordered certificates in this store; set --acme-email")
	}
	before, err := failureIn(ctx, store, host)
	if err != nil {
		return fmt.Errorf("ask for a renewal: %w", err)
	}
	path := RequestPath(host)
	items := map[string]string{"name": host, "at": time.Now().UTC().Format(time.RFC3339Nano)}
	if _, err := store.Put(ctx, path, items, 0); err != nil && !errors.Is(err, certstore.ErrConflict) {
		return fmt.Errorf("ask for a renewal: %w", err)
	}
	asked(leader)
	for end := time.Now().Add(timeout); timeout > 0; {
		sleep.For(ctx, lookForAnswer)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_, err := store.Get(ctx, path)
		if errors.Is(err, certstore.ErrNotFound) {
			break
		}
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("the certificate of %s was not renewed within %v; the request stands, look at /certificates of %s", host, timeout, leader), err)
		}
	}
	if timeout == 0 {
		return nil
	}
	after, err := failureIn(ctx, store, host)
	if err == nil && after != nil && (before == nil || !after.Last.Equal(before.Last)) {
		err = fmt.Errorf("the certificate of %s was not renewed: %s", host, after.Error)
	}
	return err
}

// failureIn reads the last failure of a host, nil for none.
func failureIn(ctx context.Context, store certstore.Store, host string) (*Failure, error) {
	r, err := store.Get(ctx, failurePath(host))
	if errors.Is(err, certstore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return readFailure(r)
}

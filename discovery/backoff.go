package discovery

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"serai/nomad"
)

// sleep waits, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fullJitter is a random part of d, so that a thousand nodes which lost
// something together do not come back together.
func fullJitter(d time.Duration) time.Duration { return rand.N(d + 1) }

// around is d give or take a fifth.
func around(d time.Duration) time.Duration { return d - d/5 + rand.N(2*d/5+1) }

// backoff doubles with every failure. How far depends on whom it costs: an
// agent that does not answer is asked often, because nobody else is, and what
// waits for it should not wait longer; a refusal that has lasted is asked about
// every few seconds, however long that is.
type backoff struct{ failures int }

func (b *backoff) reset() { b.failures = 0 }

// hasty is how many refusals in a row are asked about soon: for half a minute.
const hasty = 64

func (b *backoff) next(err error) time.Duration {
	const first = 50 * time.Millisecond
	limit := 2 * time.Second
	switch {
	case errors.Is(err, nomad.ErrUnreachable), errors.Is(err, nomad.ErrStreamEnded):
		limit = 400 * time.Millisecond
	case errors.Is(err, nomad.ErrUnavailable):
		limit = 800 * time.Millisecond
	case errors.Is(err, nomad.ErrForbidden), errors.Is(err, nomad.ErrTokenRefused):
		// Who takes a right away by mistake gives it back soon, and what was
		// deployed meanwhile is not known here until then.
		if limit = 800 * time.Millisecond; b.failures >= hasty {
			limit = 5 * time.Second
		}
	}
	d := min(first<<min(b.failures, 16), limit)
	b.failures++
	return d/4 + fullJitter(3*d/4)
}

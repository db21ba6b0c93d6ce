package discovery

import (
	"errors"
	"math/rand/v2"
	"time"

	"serai/consul"
	"serai/nomad"
)

// fullJitter is a random part of d, so that a thousand nodes that lost the same server
// do not return at the same moment.
func fullJitter(d time.Duration) time.Duration { return rand.N(d + 1) }

// around is d give or take a fifth.
func around(d time.Duration) time.Duration { return d - d/5 + rand.N(2*d/5+1) }

// backoff doubles with every failure, up to a limit that depends on who pays: an agent
// that does not answer is asked often, because only this serai asks it, and requests
// should not wait longer than necessary; a refusal that lasts is retried every few
// seconds, however long it lasts.
type backoff struct{ failures int }

func (b *backoff) reset() { b.failures = 0 }

// hasty is how many refusals in a row are retried soon: for half a minute.
const hasty = 64

func (b *backoff) next(err error) time.Duration {
	const first = 50 * time.Millisecond
	limit := 2 * time.Second
	switch {
	case errors.Is(err, nomad.ErrUnreachable), errors.Is(err, nomad.ErrStreamEnded), errors.Is(err, consul.ErrUnreachable):
		limit = 400 * time.Millisecond
	case errors.Is(err, nomad.ErrUnavailable), errors.Is(err, consul.ErrUnavailable):
		limit = 800 * time.Millisecond
	case errors.Is(err, nomad.ErrForbidden), errors.Is(err, nomad.ErrTokenRefused), errors.Is(err, consul.ErrForbidden), errors.Is(err, consul.ErrTokenRefused):
		// A permission that was removed by mistake is soon restored, and until then
		// serai does not know what was deployed meanwhile.
		if limit = 800 * time.Millisecond; b.failures >= hasty {
			limit = 5 * time.Second
		}
	}
	d := min(first<<min(b.failures, 16), limit)
	b.failures++
	return d/4 + fullJitter(3*d/4)
}

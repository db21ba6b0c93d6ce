package discovery

import (
	"fmt"
	"testing"
	"time"

	"serai/nomad"
)

// TestBackoff checks the pauses: a cluster that comes back, or restores a permission,
// is followed within a second, and a refusal that lasts is retried every few seconds.
func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		err         error
		soon        time.Duration // the longest pause in the first ten seconds
		later, most time.Duration // after a thousand failures
	}{
		{nomad.ErrUnreachable, 400 * time.Millisecond, 0, 400 * time.Millisecond},
		{nomad.ErrStreamEnded, 400 * time.Millisecond, 0, 400 * time.Millisecond},
		{nomad.ErrUnavailable, 800 * time.Millisecond, 0, 800 * time.Millisecond},
		{nomad.ErrForbidden, 800 * time.Millisecond, 1250 * time.Millisecond, 5 * time.Second},
		{nomad.ErrTokenRefused, 800 * time.Millisecond, 1250 * time.Millisecond, 5 * time.Second},
	} {
		var b backoff
		err := fmt.Errorf("list: %w", c.err)
		for waited := time.Duration(0); waited < 10*time.Second; {
			d := b.next(err)
			if d > c.soon {
				t.Errorf("%v: a pause of %v after %d failures, want at most %v", c.err, d, b.failures, c.soon)
			}
			waited += d
		}
		for b.failures < 1000 {
			b.next(err)
		}
		if d := b.next(err); d > c.most || d < c.later {
			t.Errorf("%v: a pause of %v after %d failures, want %v to %v", c.err, d, b.failures, c.later, c.most)
		}
		b.reset()
		if d := b.next(err); d > 50*time.Millisecond {
			t.Errorf("%v: a pause of %v after a success", c.err, d)
		}
	}
}

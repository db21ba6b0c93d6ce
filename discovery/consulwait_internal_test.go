package discovery

import (
	"testing"
	"time"
)

// TestConsulWaits: a query that was lost is noticed within a minute or so, as long as that
// costs the agent no more than about two queries a second, and the servers no more than a few
// kilobytes.
func TestConsulWaits(t *testing.T) {
	r := &consulRun{Consul: &Consul{}}
	for _, c := range []struct {
		n    int
		each time.Duration
		want time.Duration
	}{
		{0, forEachQuery, time.Minute}, {120, forEachQuery, time.Minute}, {400, forEachQuery, 200 * time.Second}, {10_000, forEachQuery, 5 * time.Minute},
		{0, forEachListed, time.Minute}, {2000, forEachListed, time.Minute}, {10_000, forEachListed, 5 * time.Minute},
	} {
		if got := r.wait(c.n, c.each); got < c.want-c.want/5 || got > c.want+c.want/5 {
			t.Errorf("%d queries, or services in a list, at %v: %v, want about %v", c.n, c.each, got, c.want)
		}
	}
}

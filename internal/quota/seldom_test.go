package quota_test

import (
	"testing"
	"time"

	"serai/internal/quota"
)

// TestSeldom: it is told only once in a while, and how often it was left out.
func TestSeldom(t *testing.T) {
	s, now := new(quota.Seldom), time.Unix(1000, 0)
	tell := func(after time.Duration) (uint64, bool) { return s.Take(now.Add(after), 10*time.Second) }
	if n, ok := tell(0); !ok || n != 0 {
		t.Errorf("the first one: %d, %v", n, ok)
	}
	for range 3 {
		if _, ok := tell(9 * time.Second); ok {
			t.Error("told twice within ten seconds")
		}
	}
	if n, ok := tell(10 * time.Second); !ok || n != 3 {
		t.Errorf("after ten seconds: %d, %v, want 3 that were not told", n, ok)
	}
	if n, ok := tell(21 * time.Second); !ok || n != 0 {
		t.Errorf("later: %d, %v", n, ok)
	}
}

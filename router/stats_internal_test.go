package router

import (
	"testing"
	"time"
)

// TestDurationBuckets: a duration is counted below the first bound, in seconds, that it does
// not exceed.
func TestDurationBuckets(t *testing.T) {
	for i, bound := range DurationBounds {
		at := time.Duration(bound*float64(time.Second) + .5)
		for d, want := range map[time.Duration]int{at - 1: i, at: i, at + 1: i + 1} {
			if got := durationBucket(d); got != want {
				t.Errorf("%v is in bucket %d, want %d", d, got, want)
			}
		}
	}
	if got := durationBucket(0); got != 0 {
		t.Errorf("no time at all is in bucket %d", got)
	}
}

package quota_test

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"serai/internal/quota"
)

func TestTakeIsAllOrNothing(t *testing.T) {
	var q quota.Quota
	for _, step := range []struct {
		n, limit int64
		want     bool
		taken    int64
	}{
		{1, 0, false, 0},
		{2, 1, false, 0},
		{60, 100, true, 60},
		{41, 100, false, 60},
		{40, 100, true, 100},
		{0, 100, true, 100},
		{1, 100, false, 100},
		{1, 50, false, 100}, // a limit that has sunk
		{0, 50, false, 100},
		{1, math.MaxInt64, true, 101},
	} {
		if got := q.Take(step.n, step.limit); got != step.want || q.Taken() != step.taken {
			t.Fatalf("Take(%d, %d) = %v, %d taken; want %v, %d", step.n, step.limit, got, q.Taken(), step.want, step.taken)
		}
	}
	q.Give(101)
	if q.Add(3); q.Taken() != 3 {
		t.Errorf("%d taken, want 3", q.Taken())
	}
}

// TestAtTheSameTime: of two that ask for all but a bit of the limit at once, one
// gets it, always; and the limit is never exceeded.
func TestAtTheSameTime(t *testing.T) {
	const rounds, limit = 2000, 100
	var q quota.Quota
	for range rounds {
		var start, got atomic.Int64
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				for start.Add(1); start.Load() < 2; {
					runtime.Gosched()
				}
				if q.Take(60, limit) {
					got.Add(1)
				}
			})
		}
		both.Wait()
		if n := got.Load(); n != 1 || q.Taken() != 60 {
			t.Fatalf("%d of two got 60 of 100, %d taken", n, q.Taken())
		}
		q.Give(60)
	}
}

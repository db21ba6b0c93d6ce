package quota_test

import (
	"math"
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
		{1, 50, false, 100}, // a limit that was lowered
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

const rounds = 300000

// TestNeverExceeded: of four that take the only one again and again, one has it.
func TestNeverExceeded(t *testing.T) {
	var q quota.Quota
	var have atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range rounds {
				if !q.Take(1, 1) {
					continue
				}
				if n := have.Add(1); n > 1 {
					t.Errorf("%d have the only one", n)
					return
				}
				have.Add(-1)
				q.Give(1)
			}
		})
	}
	all.Wait()
	if n := q.Taken(); n != 0 && !t.Failed() {
		t.Errorf("%d taken at the end", n)
	}
}

// TestTheRefusedTakeNothing: a Take of too much does not make two others fail that fit.
func TestTheRefusedTakeNothing(t *testing.T) {
	var q quota.Quota
	var all sync.WaitGroup
	all.Go(func() {
		for range rounds {
			if q.Take(200, 120) {
				t.Error("200 of 120 were taken")
				return
			}
		}
	})
	for range 2 {
		all.Go(func() {
			for range rounds {
				if !q.Take(60, 120) {
					t.Error("60 of 120 were refused, though at most 60 were taken")
					return
				}
				q.Give(60)
			}
		})
	}
	all.Wait()
}

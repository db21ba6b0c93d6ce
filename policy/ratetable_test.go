package policy

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hashed spreads numbers as a hash does.
func hashed(n int) uint64 { return (uint64(n) + 1) * 0x9e3779b97f4a7c15 }

// mixed is hashed, whose lowest bits are not in turn.
func mixed(n int) uint64 {
	h := hashed(n)
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// TestRateFlood: a million keys take no more memory than the limit says, and none of
// their requests gives a key that has used up its own another one. When the flood is over,
// all is as before.
func TestRateFlood(t *testing.T) {
	const limit = 1 << 14
	synctest.Test(t, func(t *testing.T) {
		rates := NewRates(limit)
		table := newRateTable(rates)
		const every, burst = time.Minute, 5
		const victim = -1
		for range burst {
			if !table.take(mixed(victim), every, burst).ok {
				t.Fatal("a key has less than its burst")
			}
		}
		for i := range 1_000_000 {
			table.take(mixed(i), every, burst)
			if i%10_000 == 0 && table.take(mixed(victim), every, burst).ok {
				t.Fatalf("after %d keys one has a request more", i)
			}
		}
		s := rates.Status()
		if s.Keys > limit/rateShare || s.Keys < limit/rateShare/2 || s.Displaced == 0 || s.Refused == 0 {
			t.Errorf("after the flood: %+v", s)
		}
		time.Sleep(burst * every)
		for range burst {
			if !table.take(mixed(victim), every, burst).ok {
				t.Fatal("a key has not got its requests back")
			}
		}
	})
}

// TestRateFloodSparesOthers: a flood on one route takes nothing from another, which has a
// part of the memory left.
func TestRateFloodSparesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := NewRates(1 << 14)
		flooded, other := newRateTable(rates), newRateTable(rates)
		for i := range 100_000 {
			flooded.take(mixed(i), time.Hour, 1)
		}
		before := rates.Status()
		for i := range 1000 {
			if !other.take(mixed(i), time.Hour, 1).ok {
				t.Fatalf("key %d is refused at its first request", i)
			}
		}
		if after := rates.Status(); after.Displaced != before.Displaced || after.Keys <= before.Keys {
			t.Errorf("%+v, and before %+v", after, before)
		}
	})
}

// TestRateMemoryComesBack: what a flood has taken is given to others when it is over, and
// all of it when its route has gone.
func TestRateMemoryComesBack(t *testing.T) {
	const limit = 1 << 12
	rates := NewRates(limit)
	synctest.Test(t, func(t *testing.T) {
		rates.began = time.Now()
		var flooded []*rateTable
		for range rateShare + 1 {
			table := newRateTable(rates)
			for i := range 10_000 {
				table.take(mixed(i), time.Second, 1)
			}
			flooded = append(flooded, table)
		}
		if s := rates.Status(); s.Keys < limit*3/4 {
			t.Fatalf("after the floods: %+v", s)
		}
		time.Sleep(time.Minute)
		last := newRateTable(rates)
		for i := range 20_000 {
			time.Sleep(2 * time.Millisecond) // in which another shard is looked at
			last.take(mixed(i), time.Second, 1)
		}
		if held := last.held.Load(); held < limit/rateShare/2 {
			t.Errorf("the last table has %d entries, all %d of %d", held, rates.Status().Keys, limit)
		}
		for _, table := range flooded {
			if held := table.held.Load(); held > 4*rateGroup*rateShards {
				t.Errorf("a table that nobody asks has %d entries", held)
			}
		}
	})
	for end := time.Now().Add(time.Minute); rates.Status().Keys > 0; runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("when all routes have gone: %+v", rates.Status())
		}
	}
}

// TestRateConcurrently: the sum that many at once are let through is never more than the
// burst and what comes back in that time.
func TestRateConcurrently(t *testing.T) {
	table := newRateTable(NewRates(1 << 10))
	const every, burst, keys = 100 * time.Microsecond, 50, 40
	var passed [keys]atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 8 {
		all.Go(func() {
			for i := range 20_000 {
				if k := i % keys; table.take(mixed(k), every, burst).ok {
					passed[k].Add(1)
				}
				table.take(mixed(keys+i), time.Hour, 1) // who would displace them
			}
		})
	}
	all.Wait()
	most := burst + int64(time.Since(began)/every)
	for k := range passed {
		if n := passed[k].Load(); n > most {
			t.Errorf("key %d: %d requests, want at most %d", k, n, most)
		}
	}
}

// TestRateGrowsOnlyWhenItMust: a few clients take little memory, however often they come.
func TestRateGrowsOnlyWhenItMust(t *testing.T) {
	rates := NewRates(0)
	table := newRateTable(rates)
	for i := range 100_000 {
		table.take(mixed(i%20), time.Hour, 1)
	}
	if s := rates.Status(); s.Keys > 20*rateGroup || s.Displaced > 0 {
		t.Errorf("%+v", s)
	}
}

package router_test

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/internal/quota"
	"serai/router"
)

func count(s *router.Stats, shard int) {
	s.Begin()
	s.Observe(shard, &router.Observation{Status: 200, Duration: time.Millisecond, BytesOut: 1, GRPC: 5, IsGRPC: true})
}

// TestStatsLoseNothing: the counters are exact while their number grows beneath those that
// count.
func TestStatsLoseNothing(t *testing.T) {
	var wide quota.Quota
	s := router.NewStats(&wide)
	const cores, each = 8, 3000
	var all sync.WaitGroup
	for core := range cores {
		all.Go(func() {
			for range each {
				count(s, core)
			}
		})
	}
	all.Wait()
	sum := s.Snapshot()
	if sum.Requests() != cores*each || sum.GRPC[5] != cores*each || sum.BytesOut != cores*each || sum.Duration != cores*each*time.Millisecond || sum.Inflight != 0 {
		t.Errorf("of %d requests %d are counted, %d of gRPC, %d bytes, %v, %d in flight", cores*each, sum.Requests(), sum.GRPC[5], sum.BytesOut, sum.Duration, sum.Inflight)
	}
	if got := wide.Taken(); runtime.GOMAXPROCS(0) > 1 && got != 1 {
		t.Errorf("%d Stats have a shard for each core, want 1", got)
	}
}

// TestStatsOfManyRoutes: routes that all have many requests do not all get a shard for each
// core, and those that are gone leave their place to others.
func TestStatsOfManyRoutes(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("with one core every route has one shard")
	}
	var wide quota.Quota
	var all []*router.Stats
	for range 600 {
		s := router.NewStats(&wide)
		all = append(all, s)
		for range 1024 {
			count(s, 0)
		}
	}
	most := wide.Taken()
	if most == 0 || most >= 600 {
		t.Fatalf("%d of 600 have a shard for each core", most)
	}
	for i, s := range all {
		if sum := s.Snapshot(); sum.Requests() != 1024 {
			t.Fatalf("route %d counts %d", i, sum.Requests())
		}
	}
	all = slices.Clone(all[500:]) // of which the first twelve have a shard for each core
	for deadline := time.Now().Add(30 * time.Second); wide.Taken() > 12; time.Sleep(10 * time.Millisecond) {
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatalf("%d are held for routes that are gone", wide.Taken())
		}
	}
	for _, s := range all {
		for range 1024 {
			count(s, 0)
		}
	}
	if got := wide.Taken(); got != int64(len(all)) {
		t.Errorf("%d of %d got a shard for each core later", got, len(all))
	}
}

// BenchmarkObserve counts requests of one route on all cores: with a shard for each, and where
// other routes have taken all of these.
func BenchmarkObserve(b *testing.B) {
	for name, taken := range map[string]int64{"a shard for each core": 0, "others have them": 512} {
		b.Run(name, func(b *testing.B) {
			var wide quota.Quota
			wide.Add(taken)
			s := router.NewStats(&wide)
			for range 2000 {
				count(s, 0)
			}
			var cores atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for core := int(cores.Add(1)); pb.Next(); {
					count(s, core)
				}
			})
		})
	}
}

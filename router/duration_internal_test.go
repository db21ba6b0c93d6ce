package router

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"serai/internal/quota"
)

// TestNarrowBuckets compares the buckets of many durations with what both histograms
// define, also at every bound and a nanosecond beside it.
func TestNarrowBuckets(t *testing.T) {
	all := []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64}
	for _, b := range narrowly.nanos[:narrowBuckets-1] {
		all = append(all, b-1, b, b+1)
	}
	for range 10_000 {
		all = append(all, time.Duration(math.Exp2(rand.Float64()*45)))
	}
	for _, d := range all {
		s := NewStats(new(quota.Quota))
		s.Begin()
		s.Observe(0, &Observation{Status: 200, Duration: d})
		n := s.Snapshot()
		classic := 0
		for classic < len(DurationBounds) && d.Seconds() > DurationBounds[classic] {
			classic++
		}
		for i, c := range n.Buckets {
			if (c == 1) != (i == classic) {
				t.Errorf("%v: bucket %d of the classic histogram has %d, and it belongs to %d", d, i, c, classic)
			}
		}
		native, found := n.Native(), 0
		if native.Zero == 1 {
			if found++; d.Seconds() > NativeZero {
				t.Errorf("%v counts as zero", d)
			}
		}
		for i, c := range native.Buckets {
			if c == 0 {
				continue
			}
			found++
			below, bound := math.Exp2(float64(NativeFirst+i-1)/4), math.Exp2(float64(NativeFirst+i)/4)
			if last := i == len(native.Buckets)-1; d.Seconds() <= below*(1-1e-12) || d.Seconds() > bound*(1+1e-12) && !last {
				t.Errorf("%v is counted between %v and %v seconds", d, below, bound)
			}
		}
		if found != 1 {
			t.Errorf("%v is counted %d times in the native histogram", d, found)
		}
	}
}

// TestNarrowBounds: there are as many as the constant says, and they rise.
func TestNarrowBounds(t *testing.T) {
	for i := 1; i < narrowBuckets; i++ {
		if narrowly.nanos[i] <= narrowly.nanos[i-1] || narrowly.classic[i] < narrowly.classic[i-1] || narrowly.native[i] < narrowly.native[i-1] {
			t.Errorf("bucket %d (%v) does not come after the one before (%v)", i, narrowly.nanos[i], narrowly.nanos[i-1])
		}
	}
	if last := narrowBuckets - 1; narrowly.nanos[last] != math.MaxInt64 || int(narrowly.classic[last]) != len(DurationBounds) ||
		int(narrowly.native[last]) != len(NativeBuckets{}.Buckets)-1 || narrowly.native[0] != -1 {
		t.Error("the ends of the table are not those of the histograms")
	}
}

func BenchmarkNarrowBucket(b *testing.B) {
	d := 700 * time.Microsecond
	for b.Loop() {
		narrowBucket(d)
		d = (d*1664525 + 1013904223) & (1<<30 - 1)
	}
}

package router

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// Durations are counted in narrow buckets, of which both of Prometheus's histograms are
// made: the classic one, whose buckets end at DurationBounds, and the native one, whose
// buckets grow by the fourth root of two. A narrow bucket is what a bucket of the one and
// a bucket of the other have in common. So a request is one addition, and the two never
// contradict each other, whenever they are read.

// DurationBounds are the upper bounds in seconds of the buckets of the classic histogram;
// one more bucket counts all that is longer.
var DurationBounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NativeSchema is the native histogram's: a bucket's upper bound in seconds is two to the
// power of a fourth of its key.
const NativeSchema = 2

// NativeZero is the upper bound in seconds of what the native histogram counts as zero,
// 0.12 ms. NativeFirst is the key of its first bucket. The last one counts whatever is
// longer than 64 s.
const (
	NativeZero  = 1.0 / (1 << -nativeFirstPower)
	NativeFirst = nativeFirstPower*nativeParts + 1

	nativeFirstPower, nativeLastPower = -13, 6
	nativeParts                       = 1 << NativeSchema // buckets from a power of two to the next
)

// NativeBuckets are the counts of the native histogram: of zero, and by key from
// NativeFirst on.
type NativeBuckets struct {
	Zero    uint64
	Buckets [(nativeLastPower-nativeFirstPower)*nativeParts + 1]uint64
}

// narrowBuckets is how many narrow buckets there are: as many as both histograms have
// bounds, of which three are the same (0.25, 0.5, 1), and one for what is longer.
const narrowBuckets = len(NativeBuckets{}.Buckets) + len(DurationBounds) - 3 + 1

// narrow is the table of the narrow buckets.
type narrow struct {
	nanos [narrowBuckets]time.Duration // upper bounds
	// first is the first bucket for durations by the number of their bits.
	first [65]uint8
	// classic is which bucket of the classic histogram each belongs to, native which of
	// the native one, from 0 for NativeFirst; -1 for its zero.
	classic, native [narrowBuckets]int8
}

// narrowly is never modified.
var narrowly = newNarrow()

func newNarrow() *narrow {
	n := &narrow{}
	bounds := DurationBounds[:]
	// As client_golang has them: two to the power of -1, -3/4, -1/2 and -1/4.
	fractions := [nativeParts]float64{0.5, 0.5946035575013605, 0.7071067811865475, 0.8408964152537144}
	for power := nativeFirstPower; power < nativeLastPower; power++ {
		for _, f := range fractions {
			bounds = append(bounds, math.Ldexp(f, power+1))
		}
	}
	bounds = append(bounds, math.Ldexp(1, nativeLastPower))
	slices.Sort(bounds)
	bounds = append(slices.Compact(bounds), math.Inf(1))
	native := -1
	for i, b := range bounds {
		n.classic[i] = int8(slices.IndexFunc(append(DurationBounds[:], math.Inf(1)), func(c float64) bool { return b <= c }))
		n.native[i] = int8(native)
		if !slices.Contains(DurationBounds[:], b) || b == .25 || b == .5 || b == 1 {
			native++ // it is a bound of the native histogram
		}
		n.nanos[i] = math.MaxInt64
		if !math.IsInf(b, 1) {
			// Nothing lies between whole nanoseconds; a product that should be whole may be a bit less.
			n.nanos[i] = time.Duration(math.Floor(b*1e9 + 1e-3))
		}
	}
	for i := range n.first {
		least := time.Duration(0)
		if i > 0 && i < 64 {
			least = 1 << (i - 1)
		}
		n.first[i] = uint8(slices.IndexFunc(n.nanos[:], func(b time.Duration) bool { return b >= least }))
	}
	return n
}

// narrowBucket returns the narrow bucket of a duration.
func narrowBucket(d time.Duration) int {
	d = max(d, 0)
	i := int(narrowly.first[bits.Len64(uint64(d))])
	for d > narrowly.nanos[i] {
		i++
	}
	return i
}

// Native returns the native histogram of the durations.
func (s *StatsSnapshot) Native() (n NativeBuckets) {
	for i, c := range s.narrow {
		if at := narrowly.native[i]; at < 0 {
			n.Zero += c
		} else {
			n.Buckets[at] += c
		}
	}
	return n
}

// count counts n requests of one narrow bucket.
func (s *StatsSnapshot) count(bucket int, n uint64) {
	s.narrow[bucket] += n
	s.Buckets[narrowly.classic[bucket]] += n
}

// Add adds the counters of o.
func (s *StatsSnapshot) Add(o *StatsSnapshot) {
	s.Inflight += o.Inflight
	for i, n := range o.Classes {
		s.Classes[i] += n
	}
	for i, n := range o.narrow {
		s.count(i, n)
	}
	s.Duration += o.Duration
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
	s.Retries += o.Retries
	s.Upgrades += o.Upgrades
	for i, n := range o.GRPC {
		s.GRPC[i] += n
	}
}

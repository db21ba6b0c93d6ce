package router

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"

	"serai/internal/quota"
	"serai/policy"
)

// Stats counts what happened on one named route, and keeps the state that its requests
// share. It outlives tables: the Builder gives the same Stats to the routes with the
// same namespace, service and route name, and drops it with the last of them.
//
// The counters are allocated at the first request, so that an unused route costs nothing,
// and sharded once there are many requests, so that cores do not contend for a cache line.
type Stats struct {
	// Retrying counts the requests that are being retried: see proxy.
	Retrying quota.Quota
	// Refused bounds the lines about requests that the route's policies refuse.
	Refused Lines
	// Unserved bounds those about requests that could not be served.
	Unserved quota.Seldom
	// Policies is the state of the route's policies.
	Policies policy.State

	inflight atomic.Int64
	shards   atomic.Pointer[[]*statsShard] // one, or one for each core; the first one stays
	wide     *quota.Quota                  // of the Stats that have more than one
}

// statsShard has what nearly every request writes at its beginning, so that the processor
// fetches few lines of memory for a route that it has not seen for a while.
type statsShard struct {
	classes  [6]atomic.Uint64 // by status/100; 0 counts requests without an answer
	nanos    atomic.Uint64
	in, out  atomic.Uint64
	retries  atomic.Uint64
	upgrades atomic.Uint64
	grpc     atomic.Pointer[grpcShard] // allocated at the first answer of gRPC
	buckets  [narrowBuckets]atomic.Uint64
	_        [64]byte
}

// firstShard is a list of one shard, in one piece of memory.
type firstShard struct {
	all   []*statsShard
	list  [1]*statsShard
	shard statsShard
}

func newFirstShard() *[]*statsShard {
	f := &firstShard{}
	f.list[0] = &f.shard
	f.all = f.list[:]
	return &f.all
}

// GRPCStatuses is how many statuses gRPC has.
const GRPCStatuses = 17

// grpcShard counts answers of gRPC by their status.
type grpcShard [GRPCStatuses]atomic.Uint64

// Observation is one finished request.
type Observation struct {
	Status   int // 0 when the client left, or was cut off, without an answer
	Duration time.Duration
	BytesIn  int64 // of the request's body
	BytesOut int64 // of the answer's body
	Retries  int
	Upgraded bool
	// GRPC is the status of gRPC, where IsGRPC.
	GRPC   int
	IsGRPC bool
}

// NewStats returns empty counters. Wide counts those that have one shard for each core, of
// which there are a limited number: many routes with a few requests each must not take the
// memory of all.
func NewStats(wide *quota.Quota) *Stats { return &Stats{wide: wide} }

// Begin counts a request as in flight until Observe.
func (s *Stats) Begin() { s.inflight.Add(1) }

// Inflight returns the number of requests in flight.
func (s *Stats) Inflight() int64 { return s.inflight.Load() }

// Move counts a request in flight for another route. Repeated says that it is also
// counted as being retried.
func (s *Stats) Move(to *Stats, repeated bool) {
	s.inflight.Add(-1)
	to.inflight.Add(1)
	if repeated {
		s.Retrying.Give(1)
		to.Retrying.Add(1)
	}
}

// Observe ends a request. Shard is any number that is usually the same for requests on
// one core.
func (s *Stats) Observe(shard int, o *Observation) {
	s.inflight.Add(-1)
	c := s.shard(shard)
	// Codes above 599 count as 5xx (RFC 9110 section 15).
	class := min(o.Status/100, len(c.classes)-1)
	if c.classes[class].Add(1)%widenEvery == 0 {
		s.widen()
	}
	c.buckets[narrowBucket(o.Duration)].Add(1)
	c.nanos.Add(uint64(o.Duration))
	// Most requests have none of these: an addition costs more than a test.
	add(&c.in, o.BytesIn)
	add(&c.out, o.BytesOut)
	add(&c.retries, int64(o.Retries))
	if o.Upgraded {
		c.upgrades.Add(1)
	}
	if o.IsGRPC {
		made(&c.grpc)[o.GRPC].Add(1)
	}
}

// shard returns one of the shards, and makes the first one when there are none.
func (s *Stats) shard(any int) *statsShard {
	shards := s.shards.Load()
	if shards == nil {
		s.shards.CompareAndSwap(nil, newFirstShard())
		shards = s.shards.Load()
	}
	return (*shards)[uint(any)&uint(len(*shards)-1)]
}

// made returns what p points to, and allocates it when that is nothing.
func made[T any](p *atomic.Pointer[T]) *T {
	if p.Load() == nil {
		p.CompareAndSwap(nil, new(T))
	}
	return p.Load()
}

const (
	// widenEvery is after how many answers of one class a route whose cores share one shard
	// tries to get more.
	widenEvery = 1 << 10
	// mostWide bounds the Stats with more than one shard: about 4 MB on eight cores.
	mostWide = 512
)

// widen makes one shard for each core, up to eight, and a power of two, since a division
// costs as much as a counter. The first shard goes on, with what others are counting in it.
func (s *Stats) widen() {
	cores := bits.Len(uint(min(runtime.GOMAXPROCS(0), 8) - 1))
	one := s.shards.Load()
	if len(*one) > 1 || cores == 0 || !s.wide.Take(1, mostWide) {
		return
	}
	all := make([]*statsShard, 1<<cores)
	all[0] = (*one)[0]
	for i := range all[1:] {
		all[i+1] = new(statsShard)
	}
	if !s.shards.CompareAndSwap(one, &all) {
		s.wide.Give(1)
		return
	}
	runtime.AddCleanup(s, func(wide *quota.Quota) { wide.Give(1) }, s.wide)
}

func add(c *atomic.Uint64, n int64) {
	if n > 0 {
		c.Add(uint64(n))
	}
}

// Called reports whether a request has ended, or is in flight.
func (s *Stats) Called() bool { return s.shards.Load() != nil || s.inflight.Load() > 0 }

// StatsSnapshot is the sum of all shards at one moment.
type StatsSnapshot struct {
	Inflight          int64
	Classes           [6]uint64 // by status/100; 0 counts requests without an answer
	Buckets           [len(DurationBounds) + 1]uint64
	Duration          time.Duration // of all requests together
	BytesIn, BytesOut uint64
	Retries, Upgrades uint64
	GRPC              [GRPCStatuses]uint64 // by status

	narrow [narrowBuckets]uint64 // Buckets in more detail: see Native
}

// Requests returns the number of finished requests.
func (s *StatsSnapshot) Requests() (n uint64) {
	for _, c := range s.Classes {
		n += c
	}
	return n
}

// Snapshot sums the shards.
func (s *Stats) Snapshot() (sum StatsSnapshot) {
	sum.Inflight = s.inflight.Load()
	shards := s.shards.Load()
	if shards == nil {
		return sum
	}
	for i := range *shards {
		c := (*shards)[i]
		for j := range c.classes {
			sum.Classes[j] += c.classes[j].Load()
		}
		for j := range c.buckets {
			if n := c.buckets[j].Load(); n > 0 {
				sum.count(j, n)
			}
		}
		sum.Duration += time.Duration(c.nanos.Load())
		sum.BytesIn += c.in.Load()
		sum.BytesOut += c.out.Load()
		sum.Retries += c.retries.Load()
		sum.Upgrades += c.upgrades.Load()
		if by := c.grpc.Load(); by != nil {
			for j := range sum.GRPC {
				sum.GRPC[j] += by[j].Load()
			}
		}
	}
	return sum
}

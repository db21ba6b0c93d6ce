package policy

import (
	"hash/maphash"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Rates is what the rate limits of all routes share: the memory, and the counters of
// /metrics. It outlives routes. All methods may be called at the same time.
type Rates struct {
	began time.Time // times are nanoseconds since then: no change of the clock matters
	seed  maphash.Seed
	limit int64 // of entries, in all tables together
	held  atomic.Int64

	refused, displaced atomic.Uint64

	swept atomic.Int64 // when sweep last looked for memory that is not needed
	mu    sync.Mutex
	all   []weak.Pointer[rateTable]
	prune int // how many of them there may be until those that are gone are left out
	next  int // of all, that sweep looks at
	shard int // of that table
}

// DefaultRateKeys is the usual limit of NewRates, RateKeyBytes the memory that each key
// takes: 16 MiB together.
const (
	DefaultRateKeys = 1 << 20
	RateKeyBytes    = 16
)

// NewRates makes a Rates for that many keys, such as clients; DefaultRateKeys when it
// is 0.
func NewRates(keys int) *Rates {
	if keys <= 0 {
		keys = DefaultRateKeys
	}
	return &Rates{began: time.Now(), seed: maphash.MakeSeed(), limit: int64(keys)}
}

// RateStatus is the state of a Rates for /metrics.
type RateStatus struct {
	// Keys is for how many keys there is memory now, Limit for how many there may be.
	Keys, Limit int64
	// Refused counts requests that were refused, Displaced keys that had to leave their
	// place to another one before they were back to all their requests.
	Refused, Displaced uint64
}

// Status returns the counters.
func (s *Rates) Status() RateStatus {
	return RateStatus{s.held.Load(), s.limit, s.refused.Load(), s.displaced.Load()}
}

// since is the time of the table.
func (s *Rates) since() int64 { return int64(time.Since(s.began)) }

// The shape of a table. A route that is never asked has no entries; one that is has at
// least one group in a shard, even where the limit is reached.
const (
	rateShards = 16
	rateGroup  = 8
	// rateShare is the part of the limit, as a divisor, that the table of one route may
	// have: a flood of keys on one route leaves room to all others.
	rateShare = 4
)

// rateTable knows, of each key, when it will have all its requests back. It has a bound,
// and its places are never given away in a way that a client could use: see take.
type rateTable struct {
	rates  *Rates
	held   *atomic.Int64 // of entries; they are given back when the table is collected
	shards [rateShards]rateShard
}

// rateShard is a part of a table with a lock of its own: groups of places. A key has its
// place in one group, which its hash decides.
type rateShard struct {
	mu     sync.Mutex
	groups []rateGroupOf // a power of two of them
	_      [32]byte
}

type rateGroupOf [rateGroup]rateEntry

// rateEntry is a key, as a hash, and the time at which it has all its requests back (the
// "theoretical arrival time" of GCRA). From that time on it says nothing that a new
// entry would not say, and its place is free.
type rateEntry struct {
	key  uint64
	full int64
}

func newRateTable(s *Rates) *rateTable {
	t := &rateTable{rates: s, held: new(atomic.Int64)}
	runtime.AddCleanup(t, func(held *atomic.Int64) { s.held.Add(-held.Load()) }, t.held)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= s.prune {
		s.all = slices.DeleteFunc(s.all, func(p weak.Pointer[rateTable]) bool { return p.Value() == nil })
		s.prune = 2*len(s.all) + 64
	}
	s.all = append(s.all, weak.Make(t))
	return t
}

// rateVerdict is what a table says about one request.
type rateVerdict struct {
	ok bool
	// wait is the time until the next request would be let through, 0 if that is now.
	// full is the time until all requests of the key are there again.
	wait, full time.Duration
}

// take counts one request of a key, and lets it through or not: GCRA, in which each
// request takes every, and a key may owe burst times that.
//
// A key that has no place gets a free one. Where its group has none, and may not grow, it
// displaces the key that owes the least, and owes what that one did. So whoever is
// displaced, on purpose or not, gains nothing: no key in the group owes less than it did,
// now or later, and so neither does the one that it displaces when it is back. The price
// is paid by new keys while a flood lasts: they may have fewer requests than they should.
func (t *rateTable) take(key uint64, every time.Duration, burst int) (v rateVerdict) {
	most := every * time.Duration(burst)
	shard := &t.shards[key%rateShards]
	shard.mu.Lock()
	now := t.rates.since() // under the lock, so that it never goes back
	e, crowded := t.place(shard, key, now)
	owes := time.Duration(max(e.full-now, 0))
	if v.ok = owes+every <= most; v.ok {
		owes += every
		e.key, e.full = key, now+int64(owes)
	}
	shard.mu.Unlock()
	v.full, v.wait = owes, max(0, owes+every-most)
	if !v.ok {
		t.rates.refused.Add(1)
	}
	if crowded {
		t.rates.sweep(now)
	}
	return v
}

// place returns the entry of a key, one that is free, or else the one that is to be
// displaced; crowded says that the shard may not grow. shard.mu is held.
func (t *rateTable) place(shard *rateShard, key uint64, now int64) (e *rateEntry, crowded bool) {
	if len(shard.groups) == 0 {
		shard.groups = make([]rateGroupOf, 1) // whatever the limit
		t.hold(rateGroup)
	}
	for {
		e, fits := shard.find(key, now)
		if fits {
			return e, false
		}
		if !t.grow(shard, now) {
			t.rates.displaced.Add(1)
			return e, true
		}
	}
}

// find returns the entry of a key or one that is free, which fits; where there is none,
// the entry that owes the least.
func (s *rateShard) find(key uint64, now int64) (e *rateEntry, fits bool) {
	g := s.groupOf(key)
	least := &g[0]
	for i := range g {
		if g[i].key == key && g[i].full != 0 {
			return &g[i], true
		}
		if g[i].full < least.full {
			least = &g[i]
		}
	}
	return least, least.full <= now
}

func (s *rateShard) groupOf(key uint64) *rateGroupOf {
	return &s.groups[(key/rateShards)&uint64(len(s.groups)-1)]
}

// hold counts entries, or gives them back where n is negative.
func (t *rateTable) hold(n int64) {
	t.held.Add(n)
	t.rates.held.Add(n)
}

// grow doubles a shard, if it may. shard.mu is held.
func (t *rateTable) grow(shard *rateShard, now int64) bool {
	more := int64(len(shard.groups) * rateGroup)
	if 2*more*rateShards > max(t.rates.limit/rateShare, 2*rateGroup*rateShards) {
		return false
	}
	if t.rates.held.Add(more) > t.rates.limit {
		t.rates.held.Add(-more)
		return false
	}
	t.held.Add(more)
	shard.resize(2*len(shard.groups), now)
	return true
}

// resize moves the entries that say something to another number of groups, and reports
// whether all found a place; otherwise nothing has changed.
func (s *rateShard) resize(groups int, now int64) bool {
	next := rateShard{groups: make([]rateGroupOf, groups)}
	for i := range s.groups {
		for _, e := range s.groups[i] {
			if e.full <= now {
				continue
			}
			to, fits := next.find(e.key, now)
			if !fits {
				return false
			}
			*to = e
		}
	}
	s.groups = next.groups
	return true
}

// sweepEvery is the shortest time between two looks for memory, each at one shard.
const sweepEvery = int64(time.Millisecond)

// sweep gives memory back that a table has from a flood which is over, since another one
// needs it.
func (s *Rates) sweep(now int64) {
	last := s.swept.Load()
	if now-last < sweepEvery || !s.swept.CompareAndSwap(last, now) {
		return
	}
	if t, i := s.nextShard(); t != nil {
		t.shrink(&t.shards[i], now)
	}
}

// nextShard returns the shard that sweep looks at: each of each table in turn, nil where
// the table is gone.
func (s *Rates) nextShard() (t *rateTable, shard int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shard++; s.shard >= rateShards {
		s.shard, s.next = 0, s.next+1
	}
	if s.next >= len(s.all) {
		s.next = 0
	}
	return s.all[s.next].Value(), s.shard // who sweeps has a table, so there is one
}

// shrink makes a shard as large as what it needs, where it needs less than a quarter.
func (t *rateTable) shrink(shard *rateShard, now int64) {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	groups := len(shard.groups)
	if groups < 2 {
		return
	}
	needed := 0
	for i := range shard.groups {
		for _, e := range shard.groups[i] {
			if e.full > now {
				needed++
			}
		}
	}
	if needed*4 > groups*rateGroup {
		return
	}
	fits := 1 << bits.Len(uint(2*needed/rateGroup)) // half full
	if fits < groups && shard.resize(fits, now) {
		t.hold(int64(fits-groups) * rateGroup)
	}
}

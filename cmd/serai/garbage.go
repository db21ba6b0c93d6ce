package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The garbage collector runs when there is half as much garbage as what is in use, since
// requests make next to none, but not before there are so many bytes: a small process to which
// a thousand clients come at once would search all their stacks again and again while it grows.
// Where memory is limited, an eighth of it is enough.
const (
	garbageShare = 50 // percent
	leastGarbage = 16 << 20
	limitShare   = 8
	leastHeap    = 4 << 20 // at which the runtime starts to count
)

// collectLess sets that until ctx ends, anew after each run of the collector. Limit is the memory's, in
// bytes, 0 for none. GOGC wins.
func collectLess(ctx context.Context, limit int64) {
	if os.Getenv("GOGC") == "" {
		(&collection{ctx: ctx, least: leastGarbageOf(limit)}).adjust()
	}
}

func leastGarbageOf(limit int64) uint64 {
	if limit <= 0 {
		return leastGarbage
	}
	return min(leastGarbage, uint64(limit)/limitShare)
}

// collection is what collectLess keeps from one run of the collector to the next.
type collection struct {
	ctx     context.Context
	least   uint64 // garbage, in bytes
	percent int
}

// adjust sets the percentage for the next run, and waits for it.
func (c *collection) adjust() {
	if c.ctx.Err() != nil {
		return
	}
	percent := gcPercent(scanned(), c.least)
	if d := percent - c.percent; max(d, -d) > percent/8 { // setting it stops all for a moment
		debug.SetGCPercent(percent)
		c.percent = percent
	}
	runtime.SetFinalizer(new(gcRun), func(*gcRun) { c.adjust() })
}

// gcRun is unreachable as soon as it is made, so that its finalizer says that the collector has run. It is
// too large to share its memory with something that is in use.
type gcRun struct{ _ [32]byte }

// gcPercent is the percentage of what the collector has to keep or to search, in bytes, that is
// the garbage at which it runs next, at least so much (https://go.dev/doc/gc-guide#GOGC).
func gcPercent(scanned, least uint64) int {
	return max(garbageShare, int(least*100/max(scanned, leastHeap)))
}

// scanned returns how many bytes the last run of the collector has found in use: the heap, the
// stacks and the variables of packages.
func scanned() (n uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		n += s.Value.Uint64()
	}
	return n
}

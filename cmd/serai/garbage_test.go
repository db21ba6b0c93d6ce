package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestGCPercent: a small process may have 16 MiB of garbage, or an eighth of its limit, a large one half of what it uses.
func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		limit   int64
		scanned uint64
		want    int
	}{
		{0, 0, 400}, {0, 1 << 20, 400}, {0, 4 << 20, 400}, {0, 8 << 20, 200}, {0, 16 << 20, 100}, {0, 32 << 20, 50}, {0, 1 << 40, 50},
		{1 << 30, 4 << 20, 400}, {128 << 20, 4 << 20, 400}, // limits that are large enough
		{64 << 20, 4 << 20, 200}, {64 << 20, 8 << 20, 100}, {64 << 20, 16 << 20, 50}, {1, 4 << 20, 50},
	} {
		if got := gcPercent(c.scanned, leastGarbageOf(c.limit)); got != c.want {
			t.Errorf("%d bytes in use, limit %d: %d %%, want %d", c.scanned, c.limit, got, c.want)
		}
	}
}

// TestCollectLess: the percentage follows what is in use, up and down, until the context ends.
func TestCollectLess(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(50)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	collectLess(ctx, 0)
	percent := func() int {
		runtime.GC()
		time.Sleep(time.Millisecond)
		p := debug.SetGCPercent(50)
		debug.SetGCPercent(p)
		return p
	}
	if p := percent(); p <= garbageShare {
		t.Skipf("the tests themselves use too much for this: %d %%", p)
	}
	used := make([]byte, 64<<20)
	until(t, "half of much", func() bool { return percent() == garbageShare })
	runtime.KeepAlive(used)
	used = nil
	until(t, "more of little", func() bool { return percent() > garbageShare })
	cancel()
	debug.SetGCPercent(77)
	for range 3 {
		if p := percent(); p != 77 {
			t.Fatalf("it is %d %% although the context has ended", p)
		}
	}
}

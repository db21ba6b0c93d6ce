package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestGCPercent: a small process may have 16 MiB of garbage, a large one half of what it uses.
func TestGCPercent(t *testing.T) {
	for scanned, want := range map[uint64]int{0: 400, 1 << 20: 400, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 32 << 20: 50, 1 << 40: 50} {
		if got := gcPercent(scanned); got != want {
			t.Errorf("%d bytes in use: %d %%, want %d", scanned, got, want)
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
	collectLess(ctx)
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

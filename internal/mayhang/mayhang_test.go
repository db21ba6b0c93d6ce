package mayhang_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"serai/internal/mayhang"
)

// TestRead: a read is told of once when it hangs, and its result counts whenever it comes,
// unless nobody waits any more.
func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		takes, stops time.Duration
		ok           bool
		hangs        int
	}{
		"at once":             {0, time.Hour, true, 0},
		"in time":             {mayhang.After - 1, time.Hour, true, 0},
		"late":                {5 * mayhang.After, time.Hour, true, 1},
		"stopped":             {time.Hour, time.Second, false, 0},
		"stopped, and hangs":  {time.Hour, 3 * mayhang.After, false, 1},
		"ended long before":   {time.Second, 2 * time.Second, true, 0},
		"stopped beforehand":  {time.Second, 0, false, 0},
		"a nanosecond before": {time.Second - 1, time.Second, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.stops)
				defer cancel()
				hangs := 0
				got, ok := mayhang.Read(ctx, func() string { time.Sleep(c.takes); return "read" }, func() { hangs++ })
				if ok != c.ok || ok != (got == "read") || hangs != c.hangs {
					t.Errorf("%q, %v, told %d times", got, ok, hangs)
				}
				time.Sleep(c.takes) // what is left behind ends, with the test
			})
		})
	}
}

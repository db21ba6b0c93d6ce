package router_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/router"
)

// TestLines: so many a second, and each one left out is told of once.
func TestLines(t *testing.T) {
	var l router.Lines
	now := time.Unix(1000, 0)
	written, left := 0, uint64(0)
	for range 10 {
		for range 100 {
			if n, ok := l.Take(now, 7); ok {
				written++
				left += n
			}
		}
		now = now.Add(time.Second)
	}
	if n, ok := l.Take(now, 7); !ok || written != 70 || left+n != 930 {
		t.Errorf("%d lines, %d left out", written, left+n)
	}
}

// TestLinesAtOnce: many who take at once do not go beyond the limit.
func TestLinesAtOnce(t *testing.T) {
	var l router.Lines
	var written atomic.Int64
	var all sync.WaitGroup
	now := time.Unix(1000, 0)
	l.Take(now, 1)
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if _, ok := l.Take(now, 50); ok {
					written.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := written.Load(); n != 49 {
		t.Errorf("%d lines", n)
	}
}

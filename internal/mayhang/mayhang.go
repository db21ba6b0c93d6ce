// Package mayhang answers: what becomes of a read that may never come back? One of a FIFO
// without a writer, or from a mount whose server is gone, cannot be stopped: Open knows when
// a FIFO's is of no use any more.
package mayhang

import (
	"context"
	"time"
)

// After is how long a read may take before it counts as one that hangs.
const After = 10 * time.Second

// Read does a read in a goroutine of its own, and returns its result, or false when ctx
// ends first: then the goroutine is left behind, and read must not change what others use.
// Hangs is called once if it takes longer than After.
func Read[T any](ctx context.Context, read func() T, hangs func()) (result T, ok bool) {
	done := make(chan T, 1)
	go func() { done <- read() }()
	late := time.NewTimer(After)
	defer late.Stop()
	for {
		select {
		case result = <-done:
			return result, true
		case <-late.C:
			hangs()
		case <-ctx.Done():
			return result, false
		}
	}
}

// Package sleep answers: how does a goroutine wait without outliving its context?
package sleep

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends: then it returns the error of ctx.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

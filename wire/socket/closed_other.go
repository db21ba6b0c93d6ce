//go:build !linux

package socket

import "time"

// ClosedFor is not supported here.
func (c *Conn) ClosedFor() (time.Duration, bool) { return 0, false }

type look struct{}

// HungUp is not supported here.
func (c *Conn) HungUp() bool { return false }

//go:build !linux

package socket

import "time"

// ClosedFor cannot tell here.
func (c *Conn) ClosedFor() (time.Duration, bool) { return 0, false }

package socket

import (
	"sync/atomic"
	"time"
)

// start is the time from which deadlines and Moments are counted, on the monotonic
// clock.
var start = time.Now()

// Moment is a time that goroutines share, zero for none. Unlike Unix nanoseconds it
// uses the monotonic clock, so that changing the time of day moves no deadline.
type Moment struct{ ns atomic.Int64 }

// Set sets it to t, which has a monotonic reading, like time.Now's result.
func (m *Moment) Set(t time.Time) { m.ns.Store(int64(since(t))) }

// Clear sets it to zero. Usually it is zero already: a load costs less than a store,
// which all cores see.
func (m *Moment) Clear() {
	if m.ns.Load() != 0 {
		m.ns.Store(0)
	}
}

// Time returns the time.
func (m *Moment) Time() time.Time { return deadline(m.ns.Load()).time() }

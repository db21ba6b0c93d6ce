package socket

import (
	"sync/atomic"
	"time"
)

// start is what deadlines and Moments are counted from, on the monotonic clock.
var start = time.Now()

// Moment is a time that goroutines share, zero for none. Unlike Unix
// nanoseconds it keeps to the monotonic clock, so that a step of the clock of
// the day moves no deadline.
type Moment struct{ ns atomic.Int64 }

// Set makes it t, which has a monotonic reading, as time.Now's result has.
func (m *Moment) Set(t time.Time) { m.ns.Store(int64(since(t))) }

// Clear makes it zero. Most often it is: a load costs less than a store that all
// cores see.
func (m *Moment) Clear() {
	if m.ns.Load() != 0 {
		m.ns.Store(0)
	}
}

// Time returns it.
func (m *Moment) Time() time.Time { return deadline(m.ns.Load()).time() }

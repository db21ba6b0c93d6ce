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

// Again sets it to now, and reports true, if it was set longer than pause ago, or never.
// Of several who ask at once one is told so.
func (m *Moment) Again(now time.Time, pause time.Duration) bool {
	last := m.ns.Load()
	return (last == 0 || since(now)-deadline(last) > deadline(pause)) && m.ns.CompareAndSwap(last, int64(since(now)))
}

// Time returns the time.
func (m *Moment) Time() time.Time { return deadline(m.ns.Load()).time() }

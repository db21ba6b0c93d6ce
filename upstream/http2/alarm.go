package http2

import (
	"sync"
	"sync/atomic"
	"time"
)

// alarm wakes a waiting goroutine at a given time. To set a timer costs more than a
// wait, and nearly all waits are short: so when a wait ends, its timer stays set. When
// it fires, it moves to the time of the next wait, if there is one.
type alarm struct {
	news  chan<- struct{}
	timer *time.Timer
	by    atomic.Int64 // when to wake the goroutine, 0 when it does not wait
	fires atomic.Int64 // when the timer fires, 0 when it is not set
	mu    sync.Mutex   // held while the timer is set
}

// epoch is the time from which alarms count, in nanoseconds.
var epoch = time.Now().Add(-time.Second)

func newAlarm(news chan<- struct{}) *alarm {
	a := &alarm{news: news}
	a.timer = time.AfterFunc(time.Hour, a.fire)
	a.timer.Stop()
	return a
}

// begin makes the alarm wake the goroutine at by. It may report false if that time has
// passed.
func (a *alarm) begin(by time.Time) bool {
	at := int64(by.Sub(epoch))
	// Store by before reading fires: fire reads by after it has cleared fires.
	a.by.Store(at)
	if a.setBefore(at) { // if that is in the past, it fires now
		return true
	}
	left := time.Until(by)
	if left <= 0 {
		a.end()
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.setBefore(at) { // fire may have set it meanwhile
		a.set(at, left)
	}
	return true
}

// end records that the goroutine no longer waits.
func (a *alarm) end() { a.by.Store(0) }

// rest stops a timer that would keep the stream from the garbage collector for long.
func (a *alarm) rest(now time.Time) {
	const long = 2 * time.Minute
	if set := a.fires.Load(); set <= int64(now.Sub(epoch)+long) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer.Stop()
	a.fires.Store(0)
}

func (a *alarm) setBefore(at int64) bool {
	set := a.fires.Load()
	return set != 0 && set <= at
}

// set sets the timer. a.mu is held.
func (a *alarm) set(at int64, left time.Duration) {
	a.fires.Store(at)
	a.timer.Reset(left)
}

func (a *alarm) fire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fires.Store(0)
	switch by, now := a.by.Load(), int64(time.Since(epoch)); {
	case by == 0:
	case by > now:
		a.set(by, time.Duration(by-now))
	default:
		select {
		case a.news <- struct{}{}:
		default:
		}
	}
}

package http2

import (
	"sync"
	"sync/atomic"
	"time"
)

// alarm wakes who waits for news at a time. Setting a timer costs more than a wait, and
// nearly all waits are short: the timer of one that has ended stays set, and moves on
// to the time of the next one only when it strikes.
type alarm struct {
	news    chan<- struct{}
	timer   *time.Timer
	by      atomic.Int64 // when who waits is to be woken, 0 when nobody waits
	strikes atomic.Int64 // when the timer does, 0 when it is not set
	mu      sync.Mutex   // of who sets it
}

// epoch is what an alarm counts from, in nanoseconds.
var epoch = time.Now().Add(-time.Second)

func newAlarm(news chan<- struct{}) *alarm {
	a := &alarm{news: news}
	a.timer = time.AfterFunc(time.Hour, a.strike)
	a.timer.Stop()
	return a
}

// begin sees to news at by, and reports whether that is still to come.
func (a *alarm) begin(by time.Time) bool {
	left := time.Until(by)
	if left <= 0 {
		return false
	}
	at := int64(by.Sub(epoch))
	// Before the look at strikes: strike looks at by after it has cleared that.
	a.by.Store(at)
	if a.setBefore(at) {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.setBefore(at) { // by strike, meanwhile
		a.set(at, left)
	}
	return true
}

// end says that nobody waits any more.
func (a *alarm) end() { a.by.Store(0) }

// rest stops a timer that would keep the stream from the collector for long.
func (a *alarm) rest(now time.Time) {
	const long = 2 * time.Minute
	if set := a.strikes.Load(); set <= int64(now.Sub(epoch)+long) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer.Stop()
	a.strikes.Store(0)
}

func (a *alarm) setBefore(at int64) bool {
	set := a.strikes.Load()
	return set != 0 && set <= at
}

// set sets the timer. a.mu is held.
func (a *alarm) set(at int64, left time.Duration) {
	a.strikes.Store(at)
	a.timer.Reset(left)
}

func (a *alarm) strike() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strikes.Store(0)
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

// Package pace answers: how does work that takes long leave the processor to requests?
package pace

import (
	"runtime"
	"time"
)

const (
	// steps is how many of them are taken until it is looked how long they took.
	steps = 16
	// most is how long they may take until the processor is given up: a request beside waits about so
	// long. The scheduler alone would have it wait for ten milliseconds.
	most = 200 * time.Microsecond
	// rarer is how many times as long as a look at the network no other follows: where other programs keep the
	// processors busy, the look gives them the processor, too, and the work is not to wait for that all the time.
	rarer = 4
)

// Pace gives the processor up now and then while much is gone through. The zero value is usable, by one goroutine.
type Pace struct {
	n     int
	since time.Time
	look  time.Time // not before

	waited time.Duration
}

// Step is called with each entry, or whatever takes a few microseconds.
func (p *Pace) Step() {
	if p.n++; p.n%steps != 0 {
		return
	}
	if now := time.Now(); now.Sub(p.since) > most {
		if !p.since.IsZero() {
			began := now
			now = p.giveUp(began)
			p.waited += now.Sub(began)
		}
		p.since = now
	}
}

// Waited is how long others have had the processor.
func (p *Pace) Waited() time.Duration { return p.waited }

// giveUp gives the processor up, and returns the time after that.
func (p *Pace) giveUp(now time.Time) time.Time {
	if now.Before(p.look) {
		runtime.Gosched()
		return time.Now()
	}
	Yield()
	end := time.Now()
	p.look = end.Add(rarer * end.Sub(now))
	return end
}

// Package pace answers: how does work that takes long leave the processor to requests?
package pace

import "time"

const (
	// steps is how many of them are taken until it is looked how long they took.
	steps = 16
	// most is how long they may take until the processor is given up: a request beside waits about so
	// long. The scheduler alone would have it wait for ten milliseconds.
	most = 200 * time.Microsecond
)

// Pace gives the processor up now and then while much is gone through. The zero value is usable, by one goroutine.
type Pace struct {
	n     int
	since time.Time
}

// Step is called with each entry, or whatever takes a few microseconds.
func (p *Pace) Step() {
	if p.n++; p.n%steps != 0 {
		return
	}
	if now := time.Now(); now.Sub(p.since) > most {
		if !p.since.IsZero() {
			Yield()
			now = time.Now()
		}
		p.since = now
	}
}

package upstream

import (
	"context"
	"sync"
	"time"
)

// prober has endpoints looked at, each when its time has come, a bounded number
// at once. One that waits for its turn or for its time costs a place in a queue
// or a timer. A goroutine for each would cost a cluster of 30,000 instances
// hundreds of megabytes when serai starts.
type prober struct {
	slots chan struct{} // a token for each look under way
	news  chan struct{} // there is something in queue or hurried

	mu      sync.Mutex
	queue   []*Endpoint // whose time has come, in order
	hurried []*Endpoint // that requests wait for: they take no slot
}

// turn is where an endpoint stands with the prober.
type turn uint8

const (
	resting turn = iota // nothing is to be done until somebody asks
	waiting             // for its time
	queued              // for a slot
	running             // it is being looked at
)

// schedule is what a prober keeps of an endpoint. It is guarded by the prober's
// mu.
type schedule struct {
	turn    turn
	hurried bool // in line among those that requests wait for
	again   bool // somebody asked while it was running
	timer   *time.Timer
}

func newProber(most int) *prober {
	return &prober{slots: make(chan struct{}, most), news: make(chan struct{}, 1)}
}

// ask has e looked at once there is a slot, or at once when requests wait for
// it: after a start with thousands of instances they do not stand in line.
func (p *prober) ask(e *Endpoint, hurry bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s := &e.schedule; s.turn {
	case running:
		s.again = true
		return
	case queued:
		if s.hurried || !hurry {
			return
		}
	case waiting:
		s.timer.Stop()
	}
	p.enqueue(e, hurry)
}

// enqueue puts e in line. p.mu is held.
func (p *prober) enqueue(e *Endpoint, hurry bool) {
	e.schedule = schedule{turn: queued, hurried: hurry}
	if hurry {
		p.hurried = append(p.hurried, e)
	} else {
		p.queue = append(p.queue, e)
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// wait has e put in line after d. p.mu is held.
func (p *prober) wait(e *Endpoint, d time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if e.schedule.timer == timer { // else somebody was faster
			p.enqueue(e, false)
		}
	})
	e.schedule = schedule{turn: waiting, timer: timer}
}

// forget ends the wait of an endpoint that is leaving.
func (p *prober) forget(e *Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.schedule.turn == waiting {
		e.schedule.timer.Stop()
		e.schedule = schedule{}
	}
}

// run looks at endpoints until ctx ends, and then waits for the looks under way.
// Look returns after how long an endpoint is to be looked at again; more is
// false when it is not until somebody asks.
func (p *prober) run(ctx context.Context, look func(context.Context, *Endpoint) (after time.Duration, more bool)) {
	var looks sync.WaitGroup
	defer looks.Wait()
	start := func(e *Endpoint, done func()) {
		looks.Go(func() {
			after, more := look(ctx, e)
			p.end(e, after, more)
			done()
		})
	}
	for {
		hurried, more := p.takeHurried()
		for _, e := range hurried {
			start(e, func() {})
		}
		var slots chan<- struct{} // nil takes nothing
		if more {
			slots = p.slots
		}
		select {
		case <-ctx.Done():
			return
		case <-p.news:
		case slots <- struct{}{}:
			done := func() { <-p.slots }
			if e := p.next(); e != nil {
				start(e, done)
			} else {
				done()
			}
		}
	}
}

// takeHurried takes the hurried ones, and reports whether others are in line.
func (p *prober) takeHurried() (all []*Endpoint, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.hurried {
		if e.schedule.turn == queued { // else it had its turn in the queue
			e.schedule.turn = running
			all = append(all, e)
		}
	}
	p.hurried = nil
	return all, len(p.queue) > 0
}

// next takes the first one in line, nil when there is none.
func (p *prober) next() *Endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 {
		e := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		if e.schedule.turn == queued {
			e.schedule.turn = running
			return e
		}
	}
	p.queue = nil
	return nil
}

// end ends a look.
func (p *prober) end(e *Endpoint, after time.Duration, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.schedule.again:
		p.enqueue(e, true)
	case more:
		p.wait(e, after)
	default:
		e.schedule = schedule{}
	}
}

// spare reports whether less than half of the slots are taken.
func (p *prober) spare() bool { return len(p.slots) < cap(p.slots)/2 }

package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// prober has endpoints looked at, each when its time has come, a bounded number
// at once, and those that were in vain at a bounded rate: thousands of instances
// that never start cost a small part of a core. One that waits for its turn or
// for its time costs a place in a line or a timer. A goroutine for each would
// cost a cluster of 30,000 instances hundreds of megabytes when serai starts.
type prober struct {
	most   int           // looks at once, of each class
	budget *rate.Limiter // of looks after one that was in vain
	news   chan struct{} // a line or a place has changed
	looks  atomic.Uint64 // begun so far
	late   atomic.Uint64 // that had to wait for the budget

	mu    sync.Mutex
	lines [lineCount]queue
	turns int // of the lines that are not first
	busy  [classCount]int
}

// class is what a look under way is counted as.
type class uint8

const (
	usual  class = iota
	urgent       // of those that requests wait for, so that nobody is in their way
	slow         // that has taken a while: what does not answer is in nobody's way
	classCount
)

const (
	// A look that takes longer than slowAfter counts as slow, if less than
	// slowShare times the usual ones do.
	slowAfter = 100 * time.Millisecond
	slowShare = 4
	// wantedFor is for how long a request that waits makes an endpoint wanted;
	// it is then never left alone for longer than startPause.
	wantedFor = 10 * time.Second
	// budgetPause is how long the prober sleeps when the budget is used up.
	budgetPause = 10 * time.Millisecond
)

// newProber makes a prober that looks at most endpoints at once, and again at so
// many a second.
func newProber(most, perSecond int) *prober {
	p := &prober{most: most, news: make(chan struct{}, 1)}
	p.budget = rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/50))
	return p
}

// ask has e looked at as soon as there is a place: something about it has
// changed. With hurry, requests wait for it: it then stands before all others,
// but is not looked at more often than one that is starting.
func (p *prober) ask(e *Endpoint, hurry bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &e.schedule
	if hurry {
		p.want(e)
		return
	}
	switch s.turn {
	case running:
		s.again = true
	case queued:
		if s.repeat {
			p.enqueue(e, due, false)
		}
	case waiting, resting:
		p.enqueue(e, due, false)
	}
}

// want puts e, which requests wait for, before all others. p.mu is held.
func (p *prober) want(e *Endpoint) {
	s := &e.schedule
	now := time.Now()
	s.wanted = now.Add(wantedFor)
	switch s.turn {
	case queued:
		if s.line != wanted {
			p.enqueue(e, wanted, s.repeat)
		}
	case waiting:
		if wait := s.earliest.Sub(now); wait <= 0 {
			p.enqueue(e, wanted, s.repeat)
		} else if s.line != wanted {
			p.wait(e, wait, wanted, s.repeat)
		}
	case resting:
		p.enqueue(e, wanted, false)
	}
}

// enqueue puts e in a line, wherever it was. p.mu is held.
func (p *prober) enqueue(e *Endpoint, l rank, repeat bool) {
	s := &e.schedule
	p.stop(s)
	s.turn, s.line, s.repeat = queued, l, repeat
	s.ticket++
	p.lines[l].places = append(p.lines[l].places, place{e, s.ticket})
	p.tell()
}

func (p *prober) stop(s *schedule) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// tell wakes run.
func (p *prober) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// wait has e put in a line after d. p.mu is held.
func (p *prober) wait(e *Endpoint, d time.Duration, l rank, repeat bool) {
	s := &e.schedule
	p.stop(s)
	s.turn, s.line, s.repeat = waiting, l, repeat
	s.ticket++
	ticket := s.ticket
	s.timer = time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.turn == waiting && s.ticket == ticket { // else somebody was faster
			p.enqueue(e, l, repeat)
		}
	})
}

// forget ends the wait of an endpoint that is leaving.
func (p *prober) forget(e *Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &e.schedule
	if s.turn == waiting {
		p.stop(s)
		s.turn = resting
	}
}

// run looks at endpoints until ctx ends, and then waits for the looks under way.
func (p *prober) run(ctx context.Context, look func(context.Context, *Endpoint) plan) {
	var looks sync.WaitGroup
	defer looks.Wait()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		e, l, spent := p.next()
		if e != nil {
			looks.Go(func() { p.look(ctx, l, e, look) })
			continue
		}
		var refill <-chan time.Time
		if spent {
			pause.Reset(budgetPause)
			refill = pause.C
		}
		select {
		case <-ctx.Done():
			return
		case <-p.news:
		case <-refill:
		}
	}
}

// next takes the first endpoint that there is a place for, and counts it in.
// Spent says that one waits for the budget alone.
func (p *prober) next() (e *Endpoint, l *look, spent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := wanted; i < lineCount; i++ {
		n := p.inTurn(i)
		q, c := &p.lines[n], usual
		if n == wanted {
			c = urgent
		}
		e := q.first()
		switch {
		case e == nil || p.busy[c] >= p.most:
			continue
		case e.schedule.repeat && !p.budget.Allow():
			spent = true
			continue
		}
		q.drop()
		if n != wanted {
			p.turns++
		}
		p.busy[c]++
		p.looks.Add(1)
		e.schedule.turn = running
		return e, &look{class: c}, false
	}
	if spent {
		p.late.Add(1)
	}
	return nil, nil, spent
}

// inTurn returns the line that is asked as the i-th: those that requests wait for
// first, and the others in their order, but each fourth time from another one on.
func (p *prober) inTurn(i rank) rank {
	const others = lineCount - due
	if i == wanted || p.turns%4 != 3 {
		return i
	}
	return due + (i-due+rank(p.turns/4)%others)%others
}

// look is one under way.
type look struct{ class class }

func (p *prober) look(ctx context.Context, l *look, e *Endpoint, do func(context.Context, *Endpoint) plan) {
	slowing := time.AfterFunc(slowAfter, func() { p.slow(l) })
	next := do(ctx, e)
	slowing.Stop()
	p.end(l, e, next)
}

// slow makes room for another look beside one that takes long.
func (p *prober) slow(l *look) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.class < slow && p.busy[slow] < slowShare*p.most {
		p.busy[l.class]--
		l.class = slow
		p.busy[slow]++
		p.tell()
	}
}

// end ends a look.
func (p *prober) end(l *look, e *Endpoint, next plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[l.class]--
	l.class = classCount // for a slow that comes too late
	p.tell()
	s, now := &e.schedule, time.Now()
	again := s.again
	s.again = false
	repeat := next.line > due
	switch {
	case again:
		p.enqueue(e, due, false)
	case next.line == nowhere:
		s.turn = resting
	case repeat && now.Before(s.wanted):
		s.earliest = now.Add(min(next.after, startPause))
		p.wait(e, min(next.after, startPause), wanted, true)
	default:
		s.earliest = now.Add(min(next.after, startPause))
		p.wait(e, next.after, next.line, repeat)
	}
}

// spare reports whether less than half of the looks at once are under way.
func (p *prober) spare() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy[usual] < p.most/2
}

// ProbeStats counts probes.
type ProbeStats struct {
	// Begun so far. Late is how often one had to wait for its share of the
	// rate.
	Begun, Late uint64
	// Now is how many are under way.
	Now int
}

// Probes returns the counts so far.
func (r *Registry) Probes() ProbeStats {
	p := r.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	return ProbeStats{Begun: p.looks.Load(), Late: p.late.Load(), Now: p.busy[usual] + p.busy[urgent] + p.busy[slow]}
}

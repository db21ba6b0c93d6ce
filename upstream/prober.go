package upstream

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// prober looks at endpoints, each when it is due, a bounded number at once, and repeats
// failed looks at a bounded rate: thousands of instances that never start cost a small
// part of a core. An endpoint that waits for its turn or its time is an entry in a
// queue or a timer. A goroutine for each would cost a cluster of 30,000 instances
// hundreds of megabytes when serai starts.
//
// Namespaces take turns, and within each its jobs: for places and for the rate. A place
// is free again after slowAfter, when the look has ended or is counted as slow; of the
// slow ones each namespace and job has its share (see slowed).
type prober struct {
	most    int           // limit of normal looks at once, and of urgent ones
	budget  *rate.Limiter // for looks after a failed one
	changed chan struct{} // a queue or a place has changed

	mu      sync.Mutex
	tenants map[string]*tenant
	order   []*tenant // the first one's turn is next
	busy    [classCount]int
	long    shares[job]     // of the places of slow looks
	slow    map[job][]*look // the newest last

	recalled     uint64 // looks that were ended for others
	late, spread uint64 // times that a look had to wait for the budget, or for its job's rate
}

const (
	// A look that takes longer than slowAfter counts as slow. There may be slowShare
	// times as many slow looks as normal ones.
	slowAfter = 100 * time.Millisecond
	slowShare = 4
	// wantedFor is how long a waiting request makes an endpoint wanted; during that
	// time it is never left alone for longer than startPause.
	wantedFor = 10 * time.Second
	// budgetPause is how long the prober sleeps when the budget is used up.
	budgetPause = 10 * time.Millisecond
)

// newProber makes a prober that looks at so many endpoints at once, and repeats
// perSecond failed looks a second.
func newProber(most, perSecond int) *prober {
	p := &prober{most: most, changed: make(chan struct{}, 1), tenants: make(map[string]*tenant), slow: make(map[job][]*look)}
	p.budget = rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/50))
	return p
}

// ask requests a look at e as soon as there is a place, because something about it has
// changed. Urgently says that requests wait for it: then it comes before all others,
// but is not looked at more often than an endpoint that is starting.
func (p *prober) ask(e *Endpoint, urgently bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &e.schedule
	if urgently {
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

// enqueue puts e into a queue, and takes it out of any other. p.mu is held.
func (p *prober) enqueue(e *Endpoint, l rank, repeat bool) {
	s := &e.schedule
	p.stop(s)
	s.turn, s.line, s.repeat = queued, l, repeat
	s.ticket++
	p.tenant(e).lines[l].add(e, s.ticket)
	p.wake()
}

// tenant returns the namespace of e. p.mu is held.
func (p *prober) tenant(e *Endpoint) *tenant {
	t := p.tenants[e.target.Namespace]
	if t == nil {
		t = &tenant{name: e.target.Namespace}
		p.tenants[t.name] = t
		p.order = append(p.order, t)
	}
	return t
}

func (p *prober) stop(s *schedule) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// wake wakes run.
func (p *prober) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// wait puts e into a queue after d. p.mu is held.
func (p *prober) wait(e *Endpoint, d time.Duration, l rank, repeat bool) {
	s := &e.schedule
	p.stop(s)
	s.turn, s.line, s.repeat = waiting, l, repeat
	s.ticket++
	ticket := s.ticket
	s.timer = time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.turn == waiting && s.ticket == ticket { // otherwise it was asked for meanwhile
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

// run looks at endpoints until ctx ends, and then waits for the looks in progress.
func (p *prober) run(ctx context.Context, look func(context.Context, *Endpoint) plan) {
	var looks sync.WaitGroup
	defer looks.Wait()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		l, spent := p.next()
		if l != nil {
			looks.Go(func() { p.look(ctx, l, look) })
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
		case <-p.changed:
		case <-refill:
		}
	}
}

// next takes the first endpoint for which there is a place, and counts the look. Spent
// says that endpoints wait only because a rate is used up.
func (p *prober) next() (l *look, spent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var late, spread bool // by the common rate, by a job's
	for _, c := range [...]class{urgent, usual} {
		if p.busy[c] >= p.most {
			continue
		}
		for i, t := range p.order {
			e := p.first(t, c, &late, &spread)
			if e == nil {
				continue
			}
			p.order = append(slices.Delete(p.order, i, i+1), t)
			p.busy[c]++
			e.schedule.turn = running
			return &look{endpoint: e, class: c}, false
		}
	}
	if late {
		p.late++
	}
	if spread {
		p.spread++
	}
	p.order = slices.DeleteFunc(p.order, func(t *tenant) bool {
		if !t.empty() {
			return false
		}
		delete(p.tenants, t.name)
		return true
	})
	return nil, late || spread
}

// first takes the namespace's first endpoint of that class out of its queue, and notes
// which rate others wait for.
func (p *prober) first(t *tenant, c class, late, spread *bool) *Endpoint {
	from, to := due, lineCount
	if c == urgent {
		from, to = wanted, due
	}
	for i := from; i < to; i++ {
		q := &t.lines[t.inTurn(i)]
		e, spent := q.first()
		*spread = *spread || spent
		switch {
		case e == nil:
			continue
		case e.schedule.repeat && !p.budget.Allow():
			*late = true
			continue
		}
		q.drop()
		e.rate.begin(e)
		if c != urgent {
			t.turns++
		}
		return e
	}
	return nil
}

// lightlyLoaded reports whether fewer than half of the permitted looks are in progress.
func (p *prober) lightlyLoaded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy[usual] < p.most/2
}

package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// load makes clients send requests at a constant rate, whatever the answers are.
type load struct {
	askers  []asker // take turns
	every   time.Duration
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	all    tally
	kinds  []phase // what each of askers saw
	phases []phase
	during int     // the phase under way, -1 before the first
	parts  []tally // by when a request was due
	marks  []mark
	since  time.Time
}

// asker is one kind of client.
type asker interface {
	// name is the kind of client, in results.
	name() string
	// ask sends the i-th request. It returns an empty string for the instance's own
	// answer, otherwise the kind of request and what came.
	ask(i int) (failure string)
	// close ends its connections; nothing is asked any more.
	close()
}

// part is the resolution of a timeline.
const part = 100 * time.Millisecond

// mark is a moment of a scenario, in seconds from its start.
type mark struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// tally counts answers.
type tally struct {
	Requests  int            `json:"requests"`
	Failed    int            `json:"failed"`
	Failures  map[string]int `json:"failures,omitempty"` // by kind of request and what came back
	LongestMS int64          `json:"longest_ms"`
}

// phase is a part of a scenario, or of its clients.
type phase struct {
	Name string `json:"name"`
	tally
}

func (t *tally) add(took time.Duration, failure string) {
	t.Requests++
	t.LongestMS = max(t.LongestMS, took.Milliseconds())
	if failure == "" {
		return
	}
	t.Failed++
	if t.Failures == nil {
		t.Failures = make(map[string]int)
	}
	t.Failures[failure]++
}

// begin begins a phase, in which requests from now on are counted, too. Steps that are
// repeated continue the phase of that name.
func (l *load) begin(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.during = slices.IndexFunc(l.phases, func(p phase) bool { return p.Name == name })
	if l.during < 0 {
		l.during = len(l.phases)
		l.phases = append(l.phases, phase{Name: name})
	}
	l.marks = append(l.marks, mark{time.Since(l.since).Seconds(), name})
}

// mark adds a mark now.
func (l *load) mark(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = append(l.marks, mark{time.Since(l.since).Seconds(), what})
}

// current returns the index of the phase under way, -1 before the first.
func (l *load) current() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.during
}

// requests returns how many requests of each kind have been answered, or have
// failed.
func (l *load) requests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Requests / len(l.askers)
}

// startLoad begins to ask, rate times a second with each of askers.
func startLoad(ctx context.Context, rate int, askers ...asker) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{askers: askers, every: time.Second / time.Duration(rate*len(askers)), stop: stop, since: time.Now(), during: -1}
	for _, a := range askers {
		l.kinds = append(l.kinds, phase{Name: a.name()})
	}
	l.running.Go(func() { l.run(ctx) })
	return l
}

func (l *load) run(ctx context.Context) {
	next := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		next = next.Add(l.every)
		// Late or not, each request has its moment: one that waits does not
		// keep others from being sent.
		time.Sleep(time.Until(next))
		due := next
		l.running.Go(func() { l.one(i, due) })
	}
}

// one sends the i-th request.
func (l *load) one(i int, due time.Time) {
	kind := i % len(l.askers)
	during := l.current()
	what := l.askers[kind].ask(i / len(l.askers))
	took := time.Since(due)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.add(took, what)
	l.kinds[kind].add(took, what)
	at := int(due.Sub(l.since) / part)
	for len(l.parts) <= at {
		l.parts = append(l.parts, tally{})
	}
	l.parts[at].add(took, what)
	if during >= 0 {
		l.phases[during].add(took, what)
	}
}

// end stops sending, waits for requests in flight, and returns what was seen.
func (l *load) end() result {
	l.stop()
	l.running.Wait()
	for _, a := range l.askers {
		a.close()
	}
	r := result{tally: l.all, Phases: l.phases, Marks: l.marks, parts: l.parts}
	if len(l.kinds) > 1 {
		r.Clients = l.kinds
	}
	return r
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// load asks for one host at a constant rate, whatever comes back: GET, POST, and
// a larger body with PUT, on connections that are kept and on new ones, in turn.
type load struct {
	address, host string
	large         string // the method with a larger body
	every         time.Duration
	http          *fasthttp.HostClient
	stop          context.CancelFunc
	running       sync.WaitGroup

	mu     sync.Mutex
	all    tally
	phases []phase
	during int     // the phase under way, -1 before the first
	parts  []tally // by when a request was due
	marks  []mark
	since  time.Time
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

// phase is a part of a scenario.
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

// begin begins a phase: what is sent from now on is counted there as well. Steps
// that are repeated go on with the phase of that name.
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

// mark names a moment.
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

// requests returns how many have been answered, or have failed.
func (l *load) requests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Requests
}

// startLoad begins to ask, rate times a second.
func startLoad(ctx context.Context, address, host, large string, rate int) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{
		address: address, host: host, large: large, every: time.Second / time.Duration(rate), stop: stop, since: time.Now(), during: -1,
		http: &fasthttp.HostClient{Addr: address, MaxConns: 10_000, MaxIdemponentCallAttempts: 1, ReadTimeout: 30 * time.Second},
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

// largeBody is more than an instance reads at once. An instance that closes the
// connection may have read part of it, so that with POST nobody may repeat it.
var largeBody = body(20 << 10)

// one sends the i-th request.
func (l *load) one(i int, due time.Time) {
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	q.SetRequestURI("http://" + l.host + "/")
	q.SetHost(l.host)
	if i%2 == 1 {
		q.Header.SetMethod(fasthttp.MethodPost)
		q.SetBodyString("a body")
		if i%8 >= 4 {
			q.Header.SetMethod(l.large)
			q.SetBodyRaw(largeBody)
		}
	}
	if i%4 >= 2 {
		q.SetConnectionClose()
	}
	during := l.current()
	err := l.http.Do(q, a)
	took := time.Since(due)
	what := ""
	switch {
	case err != nil:
		what = "error: " + err.Error()
	case a.StatusCode() != 200:
		what = fmt.Sprintf("%d %s", a.StatusCode(), a.Header.Peek("X-Serai-Reason"))
	}
	if what != "" {
		what = string(q.Header.Method()) + " " + what
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.add(took, what)
	at := int(due.Sub(l.since) / part)
	for len(l.parts) <= at {
		l.parts = append(l.parts, tally{})
	}
	l.parts[at].add(took, what)
	if during >= 0 {
		l.phases[during].add(took, what)
	}
}

// end stops asking, waits for what is under way, and returns what was seen.
func (l *load) end() result {
	l.stop()
	l.running.Wait()
	l.http.CloseIdleConnections()
	return result{tally: l.all, Phases: l.phases, Marks: l.marks, parts: l.parts}
}

// result is what one scenario showed.
type result struct {
	Scenario string `json:"scenario"`
	tally
	Phases []phase `json:"phases,omitempty"`
	Marks  []mark  `json:"marks,omitempty"`
	parts  []tally
	// Strict says that the promise is no failure at all; OnlyPOST that
	// requests may fail which nobody may repeat; WithinMS is how long a request
	// may take, 0 where nothing is promised.
	Strict   bool  `json:"strict"`
	OnlyPOST bool  `json:"only_post,omitempty"`
	WithinMS int64 `json:"within_ms,omitempty"`
}

// kept reports whether the promise was kept.
func (r *result) kept() bool {
	if r.WithinMS > 0 && r.LongestMS > r.WithinMS {
		return false
	}
	if r.OnlyPOST {
		return !slices.ContainsFunc(slices.Collect(maps.Keys(r.Failures)), func(f string) bool { return !strings.HasPrefix(f, "POST ") })
	}
	return !r.Strict || r.Failed == 0
}

func (t *tally) String() string {
	kinds := slices.SortedFunc(maps.Keys(t.Failures), func(a, b string) int { return cmp.Compare(t.Failures[b], t.Failures[a]) })
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%d x %s", t.Failures[k], k)
	}
	return fmt.Sprintf("%7d requests %5d failed  longest %5d ms  %s", t.Requests, t.Failed, t.LongestMS, strings.Join(kinds, "; "))
}

func (r *result) String() string { return fmt.Sprintf("%-52s %s", r.Scenario, r.tally.String()) }

func (p *phase) String() string { return fmt.Sprintf("%-50s %s", p.Name, p.tally.String()) }

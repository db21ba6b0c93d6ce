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

// load asks for one host at a constant rate, whatever comes back: GET and POST,
// on connections that are kept and on new ones, in turn.
type load struct {
	address, host string
	every         time.Duration
	http          *fasthttp.HostClient
	stop          context.CancelFunc
	running       sync.WaitGroup

	mu       sync.Mutex
	requests int
	failed   map[string]int // by kind of request and what came back
	longest  time.Duration
}

// startLoad begins to ask, rate times a second.
func startLoad(ctx context.Context, address, host string, rate int) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{
		address: address, host: host, every: time.Second / time.Duration(rate), stop: stop, failed: make(map[string]int),
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
	}
	if i%4 >= 2 {
		q.SetConnectionClose()
	}
	err := l.http.Do(q, a)
	took := time.Since(due)
	what := ""
	switch {
	case err != nil:
		what = "error: " + err.Error()
	case a.StatusCode() != 200:
		what = fmt.Sprintf("%d %s", a.StatusCode(), a.Header.Peek("X-Serai-Reason"))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	l.longest = max(l.longest, took)
	if what != "" {
		l.failed[string(q.Header.Method())+" "+what]++
	}
}

// end stops asking, waits for what is under way, and returns what was seen.
func (l *load) end() result {
	l.stop()
	l.running.Wait()
	l.http.CloseIdleConnections()
	r := result{Requests: l.requests, Failures: l.failed, LongestMS: l.longest.Milliseconds()}
	for _, n := range l.failed {
		r.Failed += n
	}
	return r
}

// result is what one scenario showed.
type result struct {
	Scenario  string         `json:"scenario"`
	Requests  int            `json:"requests"`
	Failed    int            `json:"failed"`
	Failures  map[string]int `json:"failures,omitempty"`
	LongestMS int64          `json:"longest_ms"`
	// Strict says that the promise is no failure at all; OnlyPOST that
	// requests may fail which nobody may repeat.
	Strict   bool `json:"strict"`
	OnlyPOST bool `json:"only_post,omitempty"`
}

// kept reports whether the promise was kept.
func (r *result) kept() bool {
	if r.OnlyPOST {
		return !slices.ContainsFunc(slices.Collect(maps.Keys(r.Failures)), func(f string) bool { return !strings.HasPrefix(f, "POST ") })
	}
	return !r.Strict || r.Failed == 0
}

func (r *result) String() string {
	kinds := slices.SortedFunc(maps.Keys(r.Failures), func(a, b string) int { return cmp.Compare(r.Failures[b], r.Failures[a]) })
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%d x %s", r.Failures[k], k)
	}
	return fmt.Sprintf("%-44s %7d requests %5d failed  longest %5d ms  %s", r.Scenario, r.Requests, r.Failed, r.LongestMS, strings.Join(kinds, "; "))
}

package upstream

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// asked counts the probes of a registry with simulated instances.
type asked struct {
	mu    sync.Mutex
	times map[string]int // by the address
	most  map[string]int // at once, by the namespace
	now   map[string]int
}

// plays replaces the registry's probes by calls of answer, and counts them.
func plays(r *Registry, answer func(ctx context.Context, e *Endpoint) error) *asked {
	a := &asked{times: make(map[string]int), most: make(map[string]int), now: make(map[string]int)}
	r.probe = func(ctx context.Context, e *Endpoint, _ time.Duration) error {
		n := e.target.Namespace
		a.mu.Lock()
		a.times[e.target.Address]++
		a.now[n]++
		a.most[n] = max(a.most[n], a.now[n])
		a.mu.Unlock()
		defer func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.now[n]--
		}()
		return answer(ctx, e)
	}
	return a
}

func (a *asked) count(address string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.times[address]
}

// runPlayed runs a registry in a bubble until body returns.
func runPlayed(t *testing.T, o RegistryOptions, answer func(context.Context, *Endpoint) error, body func(*Registry, *asked)) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(o)
		a := plays(r, answer)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		body(r, a)
		cancel()
		<-done
	})
}

func often(path string) Check {
	return Check{Path: path, Interval: 100 * time.Millisecond, Timeout: time.Second, StatusMin: 200, StatusMax: 299}
}

func after(d time.Duration) func(context.Context, *Endpoint) error {
	return func(ctx context.Context, _ *Endpoint) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestOneProbeForEachAddress: sixty registrations of one address with the same check
// are probed as one, even when they came one after the other.
func TestOneProbeForEachAddress(t *testing.T) {
	const address, n = "192.0.2.1:80", 60
	for name, pause := range map[string]time.Duration{"at once": 0, "one after the other": 37 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			runPlayed(t, RegistryOptions{}, after(time.Millisecond), func(r *Registry, a *asked) {
				var all []*Endpoint
				for i := range n {
					all = append(all, r.Acquire(Target{Address: address, Instance: fmt.Sprint(i), Check: often("/")}))
					time.Sleep(pause)
				}
				time.Sleep(10 * time.Second)
				for _, e := range all {
					if e.State() != Ready {
						t.Fatalf("%s is %v", e.target.Instance, e.State())
					}
				}
				before := a.count(address)
				const seconds = 60
				time.Sleep(seconds * time.Second)
				if got := a.count(address) - before; got < seconds*9/10 || got > seconds*11/10 {
					t.Errorf("%d probes in %d seconds", got, seconds)
				}
			})
		})
	}
}

// TestResultsOfThePastTellNothing: an instance does not become ready because another
// one at its address was ready before it came.
func TestResultsOfThePastTellNothing(t *testing.T) {
	const address = "192.0.2.1:80"
	var down bool
	var mu sync.Mutex
	answer := func(context.Context, *Endpoint) error {
		mu.Lock()
		defer mu.Unlock()
		if down {
			return errDown
		}
		return nil
	}
	runPlayed(t, RegistryOptions{}, answer, func(r *Registry, a *asked) {
		first := r.Acquire(Target{Address: address, Instance: "a", Check: often("/")})
		time.Sleep(100 * time.Millisecond)
		if first.State() != Ready {
			t.Fatalf("the first one is %v", first.State())
		}
		mu.Lock()
		down = true
		mu.Unlock()
		second := r.Acquire(Target{Address: address, Instance: "b", Check: often("/")})
		time.Sleep(100 * time.Millisecond)
		if second.State() != Probing {
			t.Fatalf("the second one is %v", second.State())
		}
		time.Sleep(5 * time.Second)
		if first.State() != Probing || second.State() != Probing {
			t.Fatalf("they are %v and %v", first.State(), second.State())
		}
		mu.Lock()
		down = false
		mu.Unlock()
		time.Sleep(2 * time.Second)
		if first.State() != Ready || second.State() != Ready {
			t.Fatalf("at last they are %v and %v", first.State(), second.State())
		}
	})
}

// TestIntervalsHaveAFloor: but an instance whose check has failed once is checked again
// as soon as its tags say.
func TestIntervalsHaveAFloor(t *testing.T) {
	const address = "192.0.2.1:80"
	var mu sync.Mutex
	var failedAt, found time.Time
	fails := func(ctx context.Context, e *Endpoint) error {
		mu.Lock()
		defer mu.Unlock()
		if !failedAt.IsZero() {
			if found.IsZero() {
				found = time.Now()
			}
			return errDown
		}
		return nil
	}
	runPlayed(t, RegistryOptions{}, fails, func(r *Registry, a *asked) {
		e := r.Acquire(Target{Address: address, Instance: "a", Check: often("/")})
		time.Sleep(time.Minute)
		if n := a.count(address); n > 66 {
			t.Errorf("%d checks in a minute", n)
		}
		mu.Lock()
		failedAt = time.Now()
		mu.Unlock()
		time.Sleep(1300 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if found.IsZero() || e.State() != Probing {
			t.Errorf("%v: the instance failed at %v, its first failure was seen at %v", e.State(), failedAt, found)
		}
	})
}

// TestAnAddressIsCheckedSeldom: checks that differ in their Host or path are no way to
// have an address asked hundreds of times a second; another namespace's check of it is
// made as often as ever.
func TestAnAddressIsCheckedSeldom(t *testing.T) {
	const address = "192.0.2.1:80"
	var other atomic.Int64
	look := func(_ context.Context, e *Endpoint) error {
		if e.target.Namespace == "honest" {
			other.Add(1)
		}
		return nil
	}
	runPlayed(t, RegistryOptions{}, look, func(r *Registry, a *asked) {
		for i := range 400 {
			check := often("/")
			if check.Host = fmt.Sprintf("h%d.example", i/2); i%2 > 0 {
				check.Path = "/1"
			}
			r.Acquire(Target{Address: address, Namespace: "evil", Job: fmt.Sprint(i), Instance: fmt.Sprint(i), Check: check})
		}
		r.Acquire(Target{Address: address, Namespace: "honest", Job: "web", Instance: "x", Check: often("/healthz")})
		time.Sleep(2 * time.Minute) // the first of each are free
		many, few := a.count(address), other.Load()
		time.Sleep(time.Minute)
		many, few = a.count(address)-many, other.Load()-few
		if few < 55 || few > 66 {
			t.Errorf("%d checks of the other namespace in a minute, want one a second", few)
		}
		if many > 10*66 {
			t.Errorf("%d checks of the address in a minute, want nine a second", many)
		}
	})
}

// TestJobsHaveARate: a job with many checks is probed at its rate, and this affects no
// other job.
func TestJobsHaveARate(t *testing.T) {
	runPlayed(t, RegistryOptions{JobProbeRate: 20}, after(time.Millisecond), func(r *Registry, a *asked) {
		greedy := Target{Address: "192.0.2.1:80", Namespace: "n", Job: "greedy"}
		for i := range 100 {
			greedy.Instance, greedy.Check = fmt.Sprint(i), often("/")
			greedy.Address = fmt.Sprintf("192.0.2.1:%d", i)
			r.Acquire(greedy)
		}
		modest := r.Acquire(Target{Address: "192.0.2.2:80", Namespace: "n", Job: "modest", Instance: "x", Check: often("/")})
		time.Sleep(10 * time.Second) // the first probes are free
		if modest.State() != Ready {
			t.Errorf("the modest job's is %v", modest.State())
		}
		all := func() (n int) {
			for i := range 100 {
				n += a.count(fmt.Sprintf("192.0.2.1:%d", i))
			}
			return n
		}
		many, few := all(), a.count(modest.target.Address)
		time.Sleep(time.Minute)
		many, few = all()-many, a.count(modest.target.Address)-few
		if many < 1100 || many > 1220 {
			t.Errorf("%d probes of the greedy job in a minute, want 20 a second", many)
		}
		if few < 55 || few > 66 {
			t.Errorf("%d probes of the modest job in a minute, want one a second", few)
		}
	})
}

// TestProbeSharesModel has greedy jobs, of any number and kind, beside a modest one
// whose slow checks are within its share: each of these begins soon, and is completed.
func TestProbeSharesModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const most = 2
		namespaces := rapid.IntRange(1, 3).Draw(rt, "greedy namespaces")
		jobs := rapid.IntRange(1, 3).Draw(rt, "jobs of each")
		type pattern struct {
			n     int
			takes time.Duration
			fails bool
		}
		draw := rapid.Custom(func(t *rapid.T) pattern {
			return pattern{
				n:     rapid.IntRange(1, 24).Draw(t, "instances"),
				takes: time.Duration(rapid.SampledFrom([]int{1, 50, 99, 101, 500, 20_000, 600_000}).Draw(t, "ms")) * time.Millisecond,
				fails: rapid.Bool().Draw(t, "fails"),
			}
		})
		greedy := rapid.SliceOfN(draw, namespaces*jobs, namespaces*jobs).Draw(rt, "greedy")
		share := most * slowShare / (namespaces + 1)
		n := rapid.IntRange(1, share).Draw(rt, "modest instances")
		takes := time.Duration(rapid.SampledFrom([]int{1, 90, 150, 900}).Draw(rt, "modest ms")) * time.Millisecond
		first := rapid.Bool().Draw(rt, "modest first")
		var mu sync.Mutex
		wrong := ""
		complain := func(format string, a ...any) {
			mu.Lock()
			defer mu.Unlock()
			wrong = fmt.Sprintf(format, a...)
		}
		synctest.Test(t, func(t *testing.T) {
			r := NewRegistry(RegistryOptions{Probes: most})
			byJob := make(map[job]pattern)
			a := plays(r, func(ctx context.Context, e *Endpoint) error {
				p, ok := byJob[e.job()]
				if !ok {
					p.takes = takes
				}
				err := after(p.takes)(ctx, e)
				if !ok && context.Cause(ctx) == errRecalled {
					complain("a modest probe was ended for others")
				}
				if p.fails {
					return errDown
				}
				return err
			})
			add := func(namespace, name string, i int) *Endpoint {
				c := Check{Path: "/", Interval: 5 * time.Second, Timeout: time.Hour}
				return r.Acquire(Target{Address: fmt.Sprintf("%s-%s-%d:80", namespace, name, i), Instance: fmt.Sprint(i), Namespace: namespace, Job: name, Check: c})
			}
			for i, p := range greedy {
				byJob[job{fmt.Sprint(i / jobs), fmt.Sprint(i % jobs)}] = p
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); r.Run(ctx) }()
			var modest []*Endpoint
			crowd := func() {
				for j, p := range byJob {
					for i := range p.n {
						add(j.namespace, j.name, i)
					}
				}
			}
			addModest := func() {
				for i := range n {
					modest = append(modest, add("modest", "m", i))
				}
			}
			if first {
				addModest()
				crowd()
			} else {
				crowd()
				time.Sleep(10 * time.Second)
				addModest()
			}
			// Each place is free again after slowAfter, and every namespace has its turn.
			soon := takes + time.Duration(n*(namespaces+1)/most+2)*slowAfter
			time.Sleep(soon)
			for _, e := range modest {
				if e.State() != Ready {
					complain("a modest instance, one of %d, is %v after %v", n, e.State(), soon)
				}
			}
			before := 0
			for _, e := range modest {
				before += a.count(e.target.Address)
			}
			time.Sleep(20 * time.Second)
			got := -before
			for _, e := range modest {
				got += a.count(e.target.Address)
			}
			if least := n * int(20*time.Second/(5*time.Second*21/20+soon)); got < least {
				complain("%d checks of %d modest instances in 20 seconds, want %d", got, n, least)
			}
			cancel()
			<-done
			p := r.prober
			if p.busy != [classCount]int{} || len(p.slow) > 0 || p.long.held != 0 {
				complain("places taken in the end: %v, %d", p.busy, p.long.held)
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

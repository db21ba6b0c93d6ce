package upstream_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"serai/upstream"
)

var (
	good   = upstream.Outcome{FirstByte: time.Millisecond, Status: 200}
	broken = upstream.Outcome{Failure: "upstream-closed"}
)

// states returns the states of a pool's members, in their order.
func states(p *upstream.Pool) (all []upstream.State) {
	for _, m := range p.Members() {
		all = append(all, m.Endpoint.State())
	}
	return all
}

// fail ends n requests on member i, each with o.
func fail(p *upstream.Pool, i, n int, o upstream.Outcome) {
	for range n {
		p.End(time.Now(), p.Members()[i], o)
	}
}

func TestFailuresInARowEject(t *testing.T) {
	r := run(t, upstream.RegistryOptions{EjectAfter: 3, EjectTime: time.Hour})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100, 100, 100, 100)...)
	fail(p, 0, 2, broken)
	fail(p, 0, 1, good)
	fail(p, 0, 2, broken)
	if s := states(p)[0]; s != upstream.Ready {
		t.Fatalf("two failures, an answer and two failures made the instance %v", s)
	}
	fail(p, 0, 1, broken)
	if s := states(p)[0]; s != upstream.Ejected {
		t.Fatalf("three failures in a row left the instance %v", s)
	}
	if got := share(t, p, 100, anyone); got["0"] > 0 {
		t.Errorf("an ejected instance got %d requests", got["0"])
	}

	// At most half may be out.
	fail(p, 1, 3, broken)
	fail(p, 2, 30, broken)
	if s := states(p); s[1] != upstream.Ejected || s[2] != upstream.Ready || s[3] != upstream.Ready {
		t.Errorf("states %v, want the second ejected and the third spared", s)
	}
	if e := r.Ejections(); e.Ejected != 2 || e.Suppressed == 0 {
		t.Errorf("counted %+v, want 2 ejected and some spared", e)
	}
	for _, e := range r.All() {
		s := e.Status()
		if (s.State == upstream.Ejected) != (s.Cause != "") {
			t.Errorf("instance %s is %v because %q", s.Target.Instance, s.State, s.Cause)
		}
	}
}

func TestAnOnlyInstanceIsNotEjected(t *testing.T) {
	r := run(t, upstream.RegistryOptions{EjectAfter: 1, EjectTime: time.Hour})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100)...)
	fail(p, 0, 10, broken)
	if s := states(p)[0]; s != upstream.Ready {
		t.Errorf("the only instance is %v", s)
	}
}

func TestShareOf5xxEjects(t *testing.T) {
	r := run(t, upstream.RegistryOptions{EjectShare: 0.5, EjectTime: time.Hour})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100, 100, 100)...)
	bad := upstream.Outcome{FirstByte: time.Millisecond, Status: 500}
	fail(p, 0, 10, bad)
	if s := states(p)[0]; s != upstream.Ready {
		t.Errorf("ten answers ejected the instance: they tell nothing about a share")
	}
	fail(p, 0, 10, bad)
	if s := states(p)[0]; s != upstream.Ejected {
		t.Errorf("an instance that answers nothing but 500 is %v", s)
	}
	for range 40 {
		fail(p, 1, 1, bad)
		fail(p, 1, 1, good)
	}
	if s := states(p)[1]; s != upstream.Ready {
		t.Errorf("an instance that answers no more than half with 500 is %v", s)
	}

	never := run(t, upstream.RegistryOptions{})
	p = ready(t, never, upstream.PoolOptions{}, weighted(100, 100)...)
	fail(p, 0, 100, bad)
	if s := states(p)[0]; s != upstream.Ready {
		t.Errorf("without the option, 5xx made the instance %v", s)
	}
}

// TestAnEjectedInstanceComesBack lets the time pass, and has it fail once more.
func TestAnEjectedInstanceComesBack(t *testing.T) {
	t.Parallel()
	// An ejection is forgotten four EjectTimes after its end: a probe must come
	// before, on a busy machine, too.
	r := run(t, upstream.RegistryOptions{EjectAfter: 5, EjectTime: 2 * time.Second})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100, 100)...)
	fail(p, 0, 5, broken)
	await(t, "readmission", func() bool { return states(p)[0] == upstream.Ready })
	before := r.Ejections().Ejected
	fail(p, 0, 1, broken)
	if got := r.Ejections().Ejected; got != before+1 {
		t.Errorf("one failure right after the readmission ejected %d times, want once", got-before)
	}
	await(t, "second readmission", func() bool { return states(p)[0] == upstream.Ready })
	fail(p, 0, 1, good)
	fail(p, 0, 4, broken)
	if s := states(p)[0]; s != upstream.Ready {
		t.Errorf("after a good answer four failures made the instance %v", s)
	}
}

// TestAllEjected removes the members that were left: the ejected ones serve.
func TestAllEjected(t *testing.T) {
	r := run(t, upstream.RegistryOptions{EjectAfter: 1, EjectTime: time.Hour})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100, 100)...)
	fail(p, 0, 1, broken)
	last := upstream.NewPool(p.Members()[:1], upstream.PoolOptions{}, p.Room())
	r.Publish(last)
	if got := share(t, last, 10, anyone); got["0"] != 10 {
		t.Errorf("with nobody else, the ejected instance got %d of 10 requests", got["0"])
	}
	if _, err := last.Room().Wait(time.Minute, request(0, nil)); err != nil {
		t.Errorf("a request waits although an ejected instance is there: %v", err)
	}
}

func TestSlowStart(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: time.Hour})
	for _, method := range []upstream.Method{upstream.Least, upstream.RoundRobin, upstream.Random} {
		p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: method}}, weighted(100, 100, 100)...)
		for i := range 2 {
			upstream.SetReadySince(p.Members()[i].Endpoint, time.Now().Add(-2*time.Hour))
		}
		const n = 3000
		got := share(t, p, n, anyone)
		if cold := got["2"]; cold == 0 || cold > n/9 {
			t.Errorf("method %d: a cold instance got %d of %d requests", method, cold, n)
		}
		if r := float64(got["0"]) / float64(got["1"]); r < 0.7 || r > 1.4 {
			t.Errorf("method %d: the warm ones got %d and %d", method, got["0"], got["1"])
		}
	}
	p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: upstream.RoundRobin}}, weighted(100, 100, 100)...)
	if got := share(t, p, 300, anyone); got["0"] != 100 || got["1"] != 100 || got["2"] != 100 {
		t.Errorf("all cold: shares %v, want equal ones", got)
	}
}

// TestNoHistoryIsNoAdvantage holds requests on an instance that has not
// answered yet: it gets no more than its part.
func TestNoHistoryIsNoAdvantage(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: -1})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100, 100)...)
	fail(p, 0, 10, good)
	held := make(map[string]int)
	for range 100 {
		held[p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false).ID]++
	}
	if held["1"] > 60 {
		t.Errorf("an instance that never answered holds %d of 100 requests", held["1"])
	}
}

// TestAnEjectionIsForgiven: an instance that has given a good answer since its ejection
// is as good as any, however often it is lost and found again.
func TestAnEjectionIsForgiven(t *testing.T) {
	r := run(t, upstream.RegistryOptions{EjectAfter: 5, EjectTime: time.Millisecond})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100, 100)...)
	back := func() { await(t, "readiness", func() bool { return states(p)[0] == upstream.Ready }) }
	fail(p, 0, 5, broken)
	back()
	fail(p, 0, 1, good)
	p.Members()[0].Endpoint.Unreachable(upstream.ErrConnect)
	back()
	before := r.Ejections().Ejected
	fail(p, 0, 4, broken)
	if got := r.Ejections().Ejected - before; got != 0 {
		t.Errorf("four failures, long after a good answer, ejected it %d times", got)
	}
}

// TestNothingEndsAnEjectionEarly: neither a check that was in progress when it began,
// nor a loss during it.
func TestNothingEndsAnEjectionEarly(t *testing.T) {
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	var checks atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if checks.Add(1) > 1 {
			asked <- struct{}{}
			<-answer
			w.WriteHeader(503)
		}
	}))
	defer s.Close()
	r := run(t, upstream.RegistryOptions{EjectAfter: 1, EjectTime: time.Hour})
	members := weighted(100, 100)
	for i := range members {
		target := upstream.Target{Address: s.Listener.Addr().String(), Instance: string(rune('a' + i))}
		if i == 0 {
			target.Check = upstream.Check{Path: "/", Interval: time.Millisecond, Timeout: long, StatusMin: 200, StatusMax: 299}
		}
		members[i].Endpoint = r.Acquire(target)
		defer r.Release(members[i].Endpoint)
		await(t, "ready", func() bool { return members[i].Endpoint.State() == upstream.Ready })
	}
	p := upstream.NewPool(members, upstream.PoolOptions{}, r.NewRoom(""))
	r.Publish(p)
	<-asked
	answer <- struct{}{} // one failed check
	<-asked              // the next is in progress
	fail(p, 0, 1, broken)
	if s := states(p)[0]; s != upstream.Ejected {
		t.Fatalf("state %v after a failure, want ejected", s)
	}
	close(answer) // the second failed check, which would make it probing
	checks.Store(-1000)
	stays := func(what string) {
		t.Helper()
		time.Sleep(50 * time.Millisecond)
		if s := states(p)[0]; s == upstream.Ready {
			t.Errorf("%s made it ready within its ejection", what)
		}
	}
	stays("a check under way")
	p.Members()[0].Endpoint.Unreachable(upstream.ErrConnect)
	stays("a loss")
	await(t, "the ejection", func() bool { return states(p)[0] == upstream.Ejected })
}

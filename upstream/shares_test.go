package upstream_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/upstream"
)

// answering is an instance that counts its checks.
func answering(t *testing.T) (address string, checks *atomic.Int64) {
	t.Helper()
	checks = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { checks.Add(1) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), checks
}

// TestATarpitStopsNobodyElsesChecks has 300 instances of one tenant that accept and
// never answer, with the longest check-timeout, and few connections.
func TestATarpitStopsNobodyElsesChecks(t *testing.T) {
	for _, c := range []struct{ name, greedy, modest string }{
		{"of another namespace", "greedy", "modest"}, {"of another job", "default", "default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, upstream.RegistryOptions{MaxConns: 256})
			address, checks := answering(t)
			slow := func(path string) upstream.Check {
				return upstream.Check{Path: path, Interval: 100 * time.Millisecond, Timeout: 10 * time.Minute, StatusMin: 200, StatusMax: 299}
			}
			modest := func(i int) *upstream.Endpoint {
				e := r.Acquire(upstream.Target{Address: address, Instance: fmt.Sprint(i), Namespace: c.modest, Job: "modest", Check: slow(fmt.Sprintf("/%d", i))})
				t.Cleanup(func() { r.Release(e) })
				return e
			}
			first := modest(0)
			await(t, "the first instance", func() bool { return first.State() == upstream.Ready })
			tarpit := listen(t, "127.0.0.1:0").Addr().String()
			for i := range 300 {
				e := r.Acquire(upstream.Target{Address: tarpit, Instance: fmt.Sprint(i), Namespace: c.greedy, Job: "greedy", Check: slow(fmt.Sprintf("/%d", i))})
				t.Cleanup(func() { r.Release(e) })
			}
			await(t, "the tarpit's checks", func() bool { return r.Probes().Begun > 20 })
			time.Sleep(500 * time.Millisecond) // they use all places
			second, before := modest(1), checks.Load()
			await(t, "a new instance", func() bool { return second.State() == upstream.Ready })
			await(t, "further checks", func() bool { return checks.Load() > before+3 })
			if s := r.Connections(); s.Open > s.Limit/4 {
				t.Errorf("probes have %d of %d connections, want about an eighth", s.Open, s.Limit)
			}
		})
	}
}

// TestSixtyRegistrationsOfOneAddress ask for ten checks a second each.
func TestSixtyRegistrationsOfOneAddress(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	address, checks := answering(t)
	often := upstream.Check{Path: "/", Interval: 100 * time.Millisecond, Timeout: long, StatusMin: 200, StatusMax: 299}
	for i := range 60 {
		e := r.Acquire(upstream.Target{Address: address, Instance: fmt.Sprint(i), Namespace: "default", Job: "greedy", Check: often})
		t.Cleanup(func() { r.Release(e) })
		await(t, "the instance", func() bool { return e.State() == upstream.Ready })
	}
	before, began := checks.Load(), time.Now()
	time.Sleep(3 * time.Second)
	n, took := checks.Load()-before, time.Since(began)
	t.Logf("%d checks in %v", n, took.Round(time.Millisecond))
	if most := 2*took.Seconds() + 2; float64(n) > most {
		t.Errorf("%d checks in %v, want about one a second", n, took)
	}
}

// TestChecksEndInTime: a check takes no longer than the operator allows.
func TestChecksEndInTime(t *testing.T) {
	r := run(t, upstream.RegistryOptions{MaxCheckTime: 200 * time.Millisecond})
	e := r.Acquire(upstream.Target{
		Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: "a",
		Check: upstream.Check{Path: "/", Interval: time.Second, Timeout: 10 * time.Minute, StatusMin: 200, StatusMax: 299},
	})
	defer r.Release(e)
	await(t, "the end of a check", func() bool { return strings.Contains(e.Status().Cause, "no answer within 200ms") })
}

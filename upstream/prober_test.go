package upstream_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"serai/upstream"
)

// TestEndpointsThatWaitHaveNoGoroutine has endpoints of which half are away and half
// are checked now and then, a few at once.
func TestEndpointsThatWaitHaveNoGoroutine(t *testing.T) {
	const probes, each = 8, 300
	var now, most atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(time.Millisecond)
		now.Add(-1)
	}))
	defer origin.Close()
	before := runtime.NumGoroutine()
	r := run(t, upstream.RegistryOptions{Probes: probes})
	away := free(t)
	check := upstream.Check{Path: "/", Interval: time.Hour, Timeout: long, StatusMin: 200, StatusMax: 299}
	var lost, there []*upstream.Endpoint
	for i := range each {
		lost = append(lost, r.Acquire(upstream.Target{Address: away, Instance: fmt.Sprint(i)}))
		there = append(there, r.Acquire(upstream.Target{Address: origin.Listener.Addr().String(), Instance: fmt.Sprint(i), Check: check}))
	}
	all := func(list []*upstream.Endpoint, holds func(upstream.EndpointStatus) bool) func() bool {
		return func() bool {
			for _, e := range list {
				if !holds(e.Status()) {
					return false
				}
			}
			return true
		}
	}
	await(t, "a try of each that is away", all(lost, func(s upstream.EndpointStatus) bool { return s.State == upstream.Probing && s.Cause != "" }))
	await(t, "a good check of each that is there", all(there, func(s upstream.EndpointStatus) bool { return s.State == upstream.Ready }))
	const own = 10 // the registry's, the origin's, and connections that end
	await(t, "few goroutines", func() bool { return runtime.NumGoroutine() <= before+probes+own })
	if n := most.Load(); n > probes {
		t.Errorf("%d checks at once, want %d at most", n, probes)
	}
	for _, e := range append(lost, there...) {
		r.Release(e)
	}
}

// TestWaitedForStandsInNoLine occupies the only place of an instance for which requests
// wait.
func TestWaitedForStandsInNoLine(t *testing.T) {
	r := run(t, upstream.RegistryOptions{Probes: 1})
	asked, answer := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-answer
	}))
	defer slow.Close()
	defer close(answer)
	first := r.Acquire(upstream.Target{Address: slow.Listener.Addr().String(), Instance: "a", Check: upstream.Check{Path: "/", Interval: time.Hour, Timeout: time.Hour}})
	defer r.Release(first)
	<-asked
	e := r.Acquire(upstream.Target{Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: "b"})
	defer r.Release(e)
	if time.Sleep(20 * time.Millisecond); e.State() != upstream.Probing {
		t.Fatalf("state %v, though another one has the only slot", e.State())
	}
	room := r.NewRoom("")
	r.Publish(upstream.NewPool([]*upstream.Member{{Endpoint: e, Weight: 100}}, upstream.PoolOptions{}, room))
	if _, err := room.Wait(long, request(0, nil)); err != nil || e.State() != upstream.Ready {
		t.Errorf("waited in vain: %v; state %v", err, e.State())
	}
}

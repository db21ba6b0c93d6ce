package admin

import (
	"testing"
	"time"

	"serai/router"
)

// TestScrapesDoNotShareSums: what one scrape sums is not changed by another one that begins
// meanwhile, and forgets a route.
func TestScrapesDoNotShareSums(t *testing.T) {
	called := func() *router.Stats {
		s := router.NewStats(nil)
		s.Begin()
		s.Observe(0, &router.Observation{Status: 200, Duration: time.Millisecond})
		return s
	}
	l := newLedger(0) // all routes share the line of their namespace
	first := &router.Route{Common: &router.Common{Namespace: "default", Service: "a", Stats: called()}}
	second := &router.Route{Common: &router.Common{Namespace: "default", Service: "b", Stats: called()}}
	l.read([]*router.Route{first, second}, nil)
	one, _ := l.read([]*router.Route{second}, nil) // the first has ended
	if len(one) != 1 {
		t.Fatalf("%d lines", len(one))
	}
	sum := one[0].snapshot()
	l.read(nil, nil) // the second ends, while the last scrape is still read
	again := one[0].snapshot()
	if sum.Requests() != 2 || again.Requests() != 2 {
		t.Errorf("a scrape has counted %d requests, and then %d; want 2", sum.Requests(), again.Requests())
	}
}

// TestRouteThatComesAndGoes: of a route that comes back with new counters each time, as long as
// its service exists, one set of them is kept and the sum of all before, and no request is
// counted twice or lost, also those that end after their route.
func TestRouteThatComesAndGoes(t *testing.T) {
	route := func(name string, s *router.Stats) *router.Route {
		return &router.Route{Common: &router.Common{Namespace: "default", Service: "web", Name: name, Stats: s}}
	}
	call := func(s *router.Stats) {
		s.Begin()
		s.Observe(0, &router.Observation{Status: 200, Duration: time.Millisecond})
	}
	l := newLedger(100)
	stays, slow := router.NewStats(nil), router.NewStats(nil)
	call(stays)
	want := uint64(1)
	slow.Begin() // a request that outlives its route
	read := func(routes ...*router.Route) (counted uint64, kept int) {
		all, _ := l.read(append(routes, route("", stays)), nil)
		for i := range all {
			if all[i].route == "x" {
				sum := all[i].snapshot()
				counted, kept = sum.Requests(), len(all[i].stats)
			}
		}
		return counted, kept
	}
	call(slow)
	read(route("x", slow))
	for i := range 100 {
		if counted, kept := read(); counted != want || kept > 2 {
			t.Fatalf("after %d times, without the route: %d requests in %d sets of counters, want %d in at most two", i, counted, kept, want)
		}
		s := router.NewStats(nil)
		call(s)
		want++
		for range 2 {
			if counted, kept := read(route("x", s)); counted != want || kept > 2 {
				t.Fatalf("after %d times: %d requests in %d sets of counters, want %d in at most two", i, counted, kept, want)
			}
		}
	}
	slow.Observe(0, &router.Observation{Status: 200, Duration: time.Millisecond})
	want++
	for range 2 {
		if counted, kept := read(); counted != want || kept > 1 {
			t.Errorf("when the slow request has ended: %d requests in %d sets of counters, want %d in one", counted, kept, want)
		}
	}
}

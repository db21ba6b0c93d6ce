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

package proxy

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"serai/internal/quota"
	"serai/router"
	"serai/upstream"
)

// repeating is an exchange on a route, whose request may be repeated twice.
func repeating(r *router.Route) *Exchange {
	x := &Exchange{Route: r}
	x.Head.Method = []byte("GET")
	return x
}

func repeatingRoute() (*Proxy, *router.Route) {
	p := &Proxy{}
	p.options.setDefaults()
	return p, &router.Route{Common: &router.Common{Options: &router.RouteOptions{Retries: 2, Timeout: time.Minute}, Stats: router.NewStats(new(quota.Quota))}}
}

// TestRetryBudgetModel: of the requests in flight no more are being repeated than
// the share, or the least number, allowed when each began to; and when they have
// ended, none is.
func TestRetryBudgetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, route := repeatingRoute()
		var all, repeated []*Exchange
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(*rapid.T) {
				route.Stats.Begin()
				all = append(all, repeating(route))
			},
			"fail": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip("nothing in flight")
				}
				x := rapid.SampledFrom(all).Draw(t, "request")
				limit, repeats := max(3, len(all)/5), x.repeats
				got := p.mayRetry(x, upstream.Unknown, false)
				if want := repeats == 1 || repeats == 0 && len(repeated) < limit; got != want {
					t.Fatalf("after %d repetitions, with %d of %d being repeated: %v, want %v", repeats, len(repeated), limit, got, want)
				}
				if got && repeats == 0 {
					repeated = append(repeated, x)
				}
			},
			"end": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip("nothing in flight")
				}
				x := rapid.SampledFrom(all).Draw(t, "request")
				without := func(from []*Exchange) (rest []*Exchange) {
					for _, other := range from {
						if other != x {
							rest = append(rest, other)
						}
					}
					return rest
				}
				all, repeated = without(all), without(repeated)
				x.endRetries()
				route.Stats.Observe(0, &router.Observation{Status: 200})
			},
			"": func(t *rapid.T) {
				if n := route.Stats.Retrying.Taken(); n != int64(len(repeated)) {
					t.Fatalf("%d are being repeated and %d counted", len(repeated), n)
				}
			},
		})
	})
}

// TestRetryBudgetAtOnce has more fail at once than may be repeated.
func TestRetryBudgetAtOnce(t *testing.T) {
	for range 2000 {
		p, route := repeatingRoute()
		var start, got atomic.Int64
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				for start.Add(1); start.Load() < 6; {
					runtime.Gosched()
				}
				if p.mayRetry(repeating(route), upstream.Unknown, false) {
					got.Add(1)
				}
			})
		}
		all.Wait()
		if n := got.Load(); n != 3 {
			t.Fatalf("%d of six requests were repeated, want 3", n)
		}
	}
}

// TestShareOfOne: what the death of one of several instances gives the budget is for
// connections that ended, not for requests that instances refuse because they have too
// many, nor where there is only one, nor where all fail.
func TestShareOfOne(t *testing.T) {
	registry := upstream.NewRegistry(upstream.RegistryOptions{Transport: func(*upstream.Endpoint, upstream.Keeping) upstream.Transport { return nil }})
	for _, c := range []struct {
		instances int
		known     upstream.Processing
		allFail   bool
		want      int
	}{
		{1, upstream.Unknown, false, 20}, {2, upstream.Unknown, false, 100}, {3, upstream.Unknown, false, 100}, {10, upstream.Unknown, false, 30},
		{20, upstream.Unknown, false, 20},
		{1, upstream.Refused, false, 20}, {2, upstream.Refused, false, 20}, {3, upstream.Refused, false, 20},
		{2, upstream.Unknown, true, 20}, {3, upstream.Unknown, true, 20},
	} {
		p, route := repeatingRoute()
		members := make([]*upstream.Member, c.instances)
		for i := range members {
			members[i] = &upstream.Member{Endpoint: registry.Acquire(upstream.Target{Address: fmt.Sprintf("127.0.0.%d:1", i+1)}), Weight: 1}
		}
		route.Pool = upstream.NewPool(members, upstream.PoolOptions{}, registry.NewRoom("default"))
		for range 100 {
			route.Stats.Begin()
		}
		if c.allFail {
			for _, m := range members {
				route.Pool.End(time.Now(), m, upstream.Outcome{Failure: "closed"})
			}
		}
		got := 0
		for range 100 {
			x := repeating(route)
			x.Member = members[0]
			if p.mayRetry(x, c.known, false) {
				got++
			}
		}
		if got != c.want {
			t.Errorf("%d of 100 requests to %d instances are repeated after %v, want %d", got, c.instances, c.known, c.want)
		}
	}
}

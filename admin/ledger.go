package admin

import (
	"slices"
	"sync"

	"serai/router"
)

// ledger keeps the counters of routes as long as their service exists: a counter that
// vanishes when another service takes the route's host, or when a deploy removes the
// route and the next one restores it, would look like a restart of serai.
//
// Its keys are label values, so that two names with equal labels make one series, and
// not a scrape that fails.
type ledger struct {
	mu       sync.Mutex
	reading  uint64
	services map[owner]*account
}

// owner is a service.
type owner struct{ namespace, service string }

// account has the counters of a service.
type account struct {
	reading uint64 // the last one in which it existed
	lines   []*line
}

// line is one route name of a service, with all Stats that it has had.
type line struct {
	route string
	stats []*router.Stats
}

// series is one line that will be read.
type series struct {
	owner
	route string
	stats []*router.Stats
}

// maxLines bounds the route names that are kept for one service.
const maxLines = 1000

// read records the routes of a table and returns all lines of services that exist: they
// have a route or a rejection.
func (l *ledger) read(routes []*router.Route, refused map[owner]bool) []series {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading++
	if l.services == nil {
		l.services = make(map[owner]*account)
	}
	for _, r := range routes {
		o := owner{label(r.Namespace), label(r.Service)}
		a := l.services[o]
		if a == nil {
			a = &account{}
			l.services[o] = a
		}
		a.reading = l.reading
		a.add(r)
	}
	for o := range refused {
		if a := l.services[o]; a != nil {
			a.reading = l.reading
		}
	}
	all := make([]series, 0, len(l.services))
	for o, a := range l.services {
		if a.reading != l.reading {
			delete(l.services, o)
			continue
		}
		for _, line := range a.lines {
			all = append(all, series{o, line.route, line.stats})
		}
	}
	return all
}

func (a *account) add(r *router.Route) {
	for _, line := range a.lines {
		if line.route == r.Name {
			if !slices.Contains(line.stats, r.Stats) {
				line.stats = append(line.stats, r.Stats)
			}
			return
		}
	}
	if len(a.lines) < maxLines {
		a.lines = append(a.lines, &line{r.Name, []*router.Stats{r.Stats}})
	}
}

// snapshot sums the counters of the line.
func (s *series) snapshot() router.StatsSnapshot {
	sum := s.stats[0].Snapshot()
	for _, stats := range s.stats[1:] {
		n := stats.Snapshot()
		sum.Inflight += n.Inflight
		for i := range n.Classes {
			sum.Classes[i] += n.Classes[i]
		}
		for i := range n.Buckets {
			sum.Buckets[i] += n.Buckets[i]
		}
		sum.Duration += n.Duration
		sum.BytesIn += n.BytesIn
		sum.BytesOut += n.BytesOut
		sum.Retries += n.Retries
		sum.Upgrades += n.Upgrades
		for i := range n.GRPC {
			sum.GRPC[i] += n.GRPC[i]
		}
	}
	return sum
}

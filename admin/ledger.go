package admin

import (
	"slices"
	"sync"

	"serai/router"
)

// ledger remembers the counters of routes as long as their service lives: a
// counter that vanishes when another service takes the route's host, or when
// a deploy takes the route away and the next one brings it back, would look
// like a restart of serai.
//
// It is keyed by the values of labels, so that two names that look the same in
// them make one line, not a scrape that fails.
type ledger struct {
	mu       sync.Mutex
	reading  uint64
	services map[owner]*account
}

// owner is a service.
type owner struct{ namespace, service string }

// account is what is known of a service.
type account struct {
	reading uint64 // the last one in which it lived
	lines   []*line
}

// line is one route name of a service, and all Stats that it has had.
type line struct {
	route string
	stats []*router.Stats
}

// series is one line to be read.
type series struct {
	owner
	route string
	stats []*router.Stats
}

// maxLines bounds the route names that are remembered of one service.
const maxLines = 1000

// read notes the routes of a table and returns all that is known of services
// that live: they have a route or a rejection.
func (l *ledger) read(routes []*router.Route, rejections []router.Rejection) []series {
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
	for i := range rejections {
		if a := l.services[owner{rejections[i].Namespace, rejections[i].Service}]; a != nil {
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

// snapshot sums what the line counted.
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

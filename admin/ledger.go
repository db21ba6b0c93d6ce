package admin

import (
	"slices"
	"sync"

	"serai/internal/pace"
	"serai/internal/quota"
	"serai/router"
)

// ledger keeps the counters of routes as long as their service exists: a counter that
// vanishes when another service takes the route's host, or when a deploy removes the
// route and the next one restores it, would look like a restart of serai.
//
// Its keys are label values, so that two names with equal labels make one series, and
// not a scrape that fails.
//
// A route that was called has a line, as long as there are lines left for its namespace.
// Routes beyond that share the line of their namespace, whose service and route are
// empty: sums over a namespace stay right, whatever one team registers and strangers call.
type ledger struct {
	mu         sync.Mutex
	reading    uint64
	lines      *quota.Fair
	services   map[owner]*account
	namespaces map[string]*remainder
}

// owner is a service.
type owner struct{ namespace, service string }

// account has the counters of a service.
type account struct {
	reading uint64 // the last one in which it existed
	lines   []*line
}

// line is one route name of a service, with the Stats that it has, and the sum of those that
// it has had: the Builder makes new ones when the route comes back.
type line struct {
	route string
	stats []counted
	ended *router.StatsSnapshot // never modified; nil for none
}

// counted are Stats with the last reading that had their route.
type counted struct {
	*router.Stats
	last uint64
}

// remainder is the line of a namespace, of the routes that have none of their own.
type remainder struct {
	quota.Holder                          // of the lines that its routes have
	stats        map[*router.Stats]uint64 // with the last reading that had their route
	ended        router.StatsSnapshot     // of those that have gone
	used         bool
}

// series is one line that will be read.
type series struct {
	owner
	route string
	stats []*router.Stats
	ended *router.StatsSnapshot // to be added, nil for none
}

// maxLines bounds the route names that are kept for one service.
const maxLines = 1000

// defaultMetricsRoutes is the default of Options.MetricsRoutes.
const defaultMetricsRoutes = 20_000

// newLedger makes a ledger of so many lines. A namespace gets three quarters of them
// while no other wants them.
func newLedger(lines int) *ledger {
	return &ledger{lines: quota.NewFair(int64(lines)), services: make(map[owner]*account), namespaces: make(map[string]*remainder)}
}

// ledgerStatus is how many lines are used, and how many routes have none.
type ledgerStatus struct{ lines, limit, summed int }

// read records the routes of a table and returns all lines of services that exist: they
// have a route or a rejection.
func (l *ledger) read(routes []*router.Route, refused map[owner]bool) ([]series, ledgerStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading++
	var p pace.Pace
	for _, r := range routes {
		p.Step()
		o := owner{label(r.Namespace), label(r.Service)}
		a := l.services[o]
		if a == nil {
			if !r.Stats.Called() {
				continue
			}
			a = &account{}
			l.services[o] = a
		}
		if a.reading = l.reading; r.Stats.Called() {
			l.add(o.namespace, a, r)
		}
	}
	for o := range refused {
		if a := l.services[o]; a != nil {
			a.reading = l.reading
		}
	}
	return l.collect()
}

// collect returns all lines, and forgets services and routes that have gone. l.mu is held.
func (l *ledger) collect() ([]series, ledgerStatus) {
	all := make([]series, 0, len(l.services))
	for o, a := range l.services {
		if a.reading != l.reading {
			delete(l.services, o)
			l.namespaces[o.namespace].Give(int64(len(a.lines)))
			continue
		}
		l.namespaces[o.namespace].used = true
		for _, line := range a.lines {
			line.forget()
			all = append(all, line.series(o))
		}
	}
	s := ledgerStatus{lines: int(l.lines.Taken()), limit: int(l.lines.Size())}
	for name, n := range l.namespaces {
		n.forget(l.reading)
		s.summed += len(n.stats)
		if len(n.stats) > 0 || n.ended.Requests() > 0 {
			ended := n.ended // which another scrape may add to while this one is summed
			rest := series{owner: owner{namespace: name}, ended: &ended}
			for stats := range n.stats {
				rest.stats = append(rest.stats, stats)
			}
			all = append(all, rest)
		}
		if !n.used && len(n.stats) == 0 {
			n.Leave()
			delete(l.namespaces, name)
		}
		n.used = false
	}
	l.lines.Settle()
	return all, s
}

// add gives a route that was called a line. l.mu is held.
func (l *ledger) add(namespace string, a *account, r *router.Route) {
	n := l.namespaces[namespace]
	if n == nil {
		n = &remainder{stats: make(map[*router.Stats]uint64)}
		n.Join(l.lines)
		l.namespaces[namespace] = n
	}
	if _, summed := n.stats[r.Stats]; summed { // it stays there, or the sum would decrease
		n.stats[r.Stats] = l.reading
		return
	}
	for _, line := range a.lines {
		if line.route == r.Name {
			line.count(r.Stats, l.reading)
			return
		}
	}
	if len(a.lines) < maxLines && n.Take(1, l.lines.Size()*3/4) {
		a.lines = append(a.lines, &line{route: r.Name, stats: []counted{{r.Stats, l.reading}}})
		return
	}
	n.stats[r.Stats] = l.reading
}

// count notes that a reading has the route with these Stats.
func (l *line) count(stats *router.Stats, reading uint64) {
	for i := range l.stats {
		if l.stats[i].Stats == stats {
			l.stats[i].last = reading
			return
		}
	}
	l.stats = append(l.stats, counted{stats, reading})
}

// forget keeps of Stats that others have replaced only what they have counted: else a route
// that comes and goes all night would keep all that it has had. The last ones stay: a route
// that another service holds meanwhile comes back with them.
func (l *line) forget() {
	newest := uint64(0)
	for _, s := range l.stats {
		newest = max(newest, s.last)
	}
	l.stats = slices.DeleteFunc(l.stats, func(s counted) bool {
		if s.last == newest || s.Inflight() != 0 {
			return false
		}
		sum := s.Snapshot()
		if l.ended != nil {
			sum.Add(l.ended)
		}
		l.ended = &sum
		return true
	})
}

// series is what is read of the line now.
func (l *line) series(o owner) series {
	s := series{owner: o, route: l.route, ended: l.ended}
	for i := range l.stats {
		s.stats = append(s.stats, l.stats[i].Stats)
	}
	return s
}

// forget keeps of routes that have gone only what they have counted.
func (n *remainder) forget(reading uint64) {
	for stats, last := range n.stats {
		if last != reading && stats.Inflight() == 0 {
			sum := stats.Snapshot()
			n.ended.Add(&sum)
			delete(n.stats, stats)
		}
	}
}

// snapshot sums the counters of the line.
func (s *series) snapshot() (sum router.StatsSnapshot) {
	for _, stats := range s.stats {
		n := stats.Snapshot()
		sum.Add(&n)
	}
	if s.ended != nil {
		sum.Add(s.ended)
	}
	return sum
}

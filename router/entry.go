package router

import (
	"iter"
	"maps"
	"slices"
)

// entry is all routes of one host pattern. Immutable: a change makes a new
// entry that shares what did not change.
//
// A few routes are scanned in order. Many are found by their paths, so that a
// host with thousands of them costs a few map lookups: one for the exact path
// and one for each length that prefixes have.
type entry struct {
	// sole is the only route, when it takes whatever comes for its host: most
	// hosts have one like that, and a look at it would cost as much as all that
	// leads to it. Its priority stands here for the same reason.
	sole         *Route
	solePriority int

	few  bucket
	many *paths // nil while there are few

	// holding says whose the host is; foreign are claims of namespaces that it is
	// not. tenants are all that claim it, the first of whom holds it: nil when there
	// is only one, and the host no wildcard.
	holding *holding
	foreign []*Route
	tenants []tenant
	// recorded says that all nodes know their order.
	recorded bool
}

// maxFew is the number of routes that is scanned.
const maxFew = 24

// bucket is routes in the order that requests try them.
type bucket struct {
	live []*Route
	// shadowed are claims that an older one of the same kind holds.
	shadowed []shadow
}

// shadow is a route that never takes a request, and the one that does.
type shadow struct{ route, holder *Route }

// newBucket orders routes, which it takes over. Of those that claim the same,
// the first in order is the oldest: it holds the claim.
func newBucket(routes []*Route) bucket {
	slices.SortFunc(routes, (*Route).nearer)
	if len(routes) <= 1 {
		return bucket{live: routes}
	}
	b := bucket{live: routes[:0]}
	held := make(map[claim]*Route, len(routes))
	for _, r := range routes {
		if holder := held[r.claim()]; holder != nil {
			b.shadowed = append(b.shadowed, shadow{r, holder})
			continue
		}
		held[r.claim()] = r
		b.live = append(b.live, r)
	}
	clear(routes[len(b.live):])
	return b
}

func (b *bucket) all() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for _, r := range b.live {
			if !yield(r) {
				return
			}
		}
		for _, s := range b.shadowed {
			if !yield(s.route) {
				return
			}
		}
	}
}

// paths is the routes of one host by path.
type paths struct {
	exact, prefix *index[*bucket]
	// lengths counts the prefixes of each length; order lists the lengths,
	// longest first. The root has length 0.
	lengths map[int]int
	order   []int
	// priorities counts the routes of each priority.
	priorities map[int]int
	len        int
}

// pathShards is the number of shards of a host with many paths.
const pathShards = 128

// all goes through the routes of the entry, those that take no request, too.
func (e *entry) all() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		if e == nil {
			return
		}
		for _, r := range e.foreign {
			if !yield(r) {
				return
			}
		}
		for b := range e.buckets() {
			for r := range b.all() {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// buckets goes through the parts of an entry.
func (e *entry) buckets() iter.Seq[*bucket] {
	return func(yield func(*bucket) bool) {
		if e == nil {
			return
		}
		if e.many == nil {
			yield(&e.few)
			return
		}
		for _, x := range []*index[*bucket]{e.many.exact, e.many.prefix} {
			for _, b := range x.all() {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// change is what a build does to one host.
type change struct{ remove, add []*Route }

// apply returns the entry after a change, nil when it has no route left. The
// receiver may be nil.
func (e *entry) apply(c *change, w *warden) *entry {
	if e != nil && e.many != nil && w.simple(e, c) && e.many.len+len(c.add)-len(c.remove) > maxFew/2 {
		return &entry{many: e.many.apply(c), holding: e.holding}
	}
	var routes []*Route
	if e != nil {
		routes = without(e.all(), c.remove)
	}
	if routes = append(routes, c.add...); len(routes) == 0 {
		return nil
	}
	own, next := w.split(routes)
	next.fill(own)
	return &next
}

// fill puts the routes into an entry that has none. It takes them over.
func (e *entry) fill(routes []*Route) {
	if len(routes) > maxFew {
		empty := &paths{exact: newIndex[*bucket](pathShards), prefix: newIndex[*bucket](pathShards)}
		e.many = empty.apply(&change{add: routes})
		return
	}
	e.few = newBucket(routes)
	if len(e.few.live) == 1 && e.few.live[0].unconditional() {
		e.sole, e.solePriority = e.few.live[0], e.few.live[0].Priority
	}
}

// without returns the routes that are not among those removed.
func without(routes iter.Seq[*Route], remove []*Route) []*Route {
	removed := make(map[*Route]bool, len(remove))
	for _, r := range remove {
		removed[r] = true
	}
	var kept []*Route
	for r := range routes {
		if !removed[r] {
			kept = append(kept, r)
		}
	}
	return kept
}

// apply returns the paths after a change.
func (p *paths) apply(c *change) *paths {
	next := &paths{lengths: maps.Clone(p.lengths), priorities: maps.Clone(p.priorities), len: p.len + len(c.add) - len(c.remove)}
	if next.lengths == nil {
		next.lengths, next.priorities = make(map[int]int), make(map[int]int)
	}
	type place struct {
		exact bool
		path  string
	}
	changes := make(map[place]*change)
	at := func(r *Route) *change {
		key := place{r.Exact, r.pathKey()}
		if changes[key] == nil {
			changes[key] = &change{}
		}
		return changes[key]
	}
	for _, r := range c.remove {
		b := at(r)
		b.remove = append(b.remove, r)
		next.count(r, -1)
	}
	for _, r := range c.add {
		b := at(r)
		b.add = append(b.add, r)
		next.count(r, 1)
	}
	exact, prefix := p.exact.edit(), p.prefix.edit()
	for where, c := range changes {
		x := prefix
		if where.exact {
			x = exact
		}
		routes := c.add
		if old := x.get([]byte(where.path)); old != nil {
			routes = append(without(old.all(), c.remove), c.add...)
		}
		b := newBucket(routes)
		x.set(where.path, &b, len(routes) > 0)
	}
	next.exact, next.prefix = exact.done(), prefix.done()
	next.order = slices.Sorted(maps.Keys(next.lengths))
	slices.Reverse(next.order)
	return next
}

// count notes a route that comes or goes.
func (p *paths) count(r *Route, n int) {
	add := func(m map[int]int, key int) {
		if m[key] += n; m[key] == 0 {
			delete(m, key)
		}
	}
	add(p.priorities, r.Priority)
	if !r.Exact {
		add(p.lengths, len(r.pathKey()))
	}
}

// unconditional reports whether a route takes every path of its host.
func (r *Route) unconditional() bool {
	return r.Path == "/" && !r.Exact && len(r.Conditions) == 0 && !r.guarded && !r.Lingers()
}

// pathKey is the path without the slash that only the root has.
func (r *Route) pathKey() string {
	if !r.Exact && r.Path == "/" {
		return ""
	}
	return r.Path
}

package router

import (
	"iter"
	"maps"
	"slices"
)

// entry has all routes of one host pattern. Immutable: a change makes a new entry that
// shares what did not change.
//
// A few routes are scanned in order. Many are found by their paths, so that a
// host with thousands of them costs a few map lookups: one for the exact path
// and one for each length that prefixes have.
type entry struct {
	// sole is the only route, when it takes every request for its host: most hosts have
	// one such route, and searching it would cost as much as finding the entry. Its
	// priority is copied here for the same reason.
	sole         *Route
	solePriority int

	few    bucket
	guards bool // one of the few has a guard
	// answered are the paths that a policy of a route answers for the whole host, nil for
	// most hosts.
	answered *[]answered
	many     *paths // nil while there are few

	// holding says which namespace holds the host. disputed is nil when there is only
	// one that claims it, and the host is not a wildcard: as for most hosts.
	holding  *holding
	disputed *disputed
}

// disputed is what is known of a host that several namespaces claim, or may claim.
type disputed struct {
	// foreign are claims of namespaces that do not hold the host, tenants all
	// namespaces that claim it, the holder first.
	foreign []*Route
	tenants []tenant
	// recorded says that all nodes share the order of the tenants.
	recorded bool
}

// foreign returns the claims of namespaces that do not hold the host.
func (e *entry) foreign() []*Route {
	if e == nil || e.disputed == nil {
		return nil
	}
	return e.disputed.foreign
}

// tenants returns the namespaces that claim the host, the holder first; nil when there is
// only one and the host is not a wildcard.
func (e *entry) tenants() []tenant {
	if e.disputed == nil {
		return nil
	}
	return e.disputed.tenants
}

// maxFew is the number of routes up to which they are scanned.
const maxFew = 24

// bucket has routes in the order in which requests try them.
type bucket struct {
	live []*Route
	// shadows are claims that an older claim of the same kind holds; nil for none, which
	// takes less than an empty slice.
	shadows *[]shadow
}

// shadowed returns the claims that an older claim of the same kind holds.
func (b *bucket) shadowed() []shadow {
	if b.shadows == nil {
		return nil
	}
	return *b.shadows
}

// shadow is a route that never takes a request, and the one that does.
type shadow struct{ route, holder *Route }

// newBucket sorts routes, and owns the slice from then on. Of routes with the same
// claim, the first in order is the oldest: it holds the claim.
func newBucket(routes []*Route) bucket {
	slices.SortFunc(routes, (*Route).nearer)
	if len(routes) <= 1 {
		return bucket{live: routes}
	}
	b := bucket{live: routes[:0]}
	var shadowed []shadow
	held := make(map[claim]*Route, len(routes))
	for _, r := range routes {
		if holder := held[r.claim()]; holder != nil {
			shadowed = append(shadowed, shadow{r, holder})
			continue
		}
		held[r.claim()] = r
		b.live = append(b.live, r)
	}
	clear(routes[len(b.live):])
	if len(shadowed) > 0 {
		b.shadows = &shadowed
	}
	return b
}

func (b *bucket) all() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for _, r := range b.live {
			if !yield(r) {
				return
			}
		}
		for _, s := range b.shadowed() {
			if !yield(s.route) {
				return
			}
		}
	}
}

// paths has the routes of one host by path.
type paths struct {
	exact, prefix *index[*bucket]
	// lengths counts the prefixes of each length; order lists the lengths,
	// longest first. The root has length 0.
	lengths map[int]int
	order   []int
	// priorities counts the routes of each priority.
	priorities map[int]int
	len        int
	guards     int // routes with a guard
}

// pathShards is the number of shards of a host with many paths.
const pathShards = 128

// all iterates over the routes of the entry, including those that take no request.
func (e *entry) all() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		if e == nil {
			return
		}
		for _, r := range e.foreign() {
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

// buckets iterates over the parts of an entry.
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
		next := &entry{many: e.many.apply(c), holding: e.holding}
		if next.many.guards > 0 {
			next.findAnswered()
		}
		return next
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
	next.findAnswered()
	return &next
}

// fill puts the routes into an empty entry, which owns the slice from then on.
func (e *entry) fill(routes []*Route) {
	if len(routes) > maxFew {
		empty := &paths{exact: newIndex[*bucket](pathShards), prefix: newIndex[*bucket](pathShards)}
		e.many = empty.apply(&change{add: routes})
		return
	}
	e.guards = slices.ContainsFunc(routes, func(r *Route) bool { return r.Policies.Guards() })
	e.few = newBucket(routes)
	if len(e.few.live) == 1 && e.few.live[0].unconditional() {
		e.sole, e.solePriority = e.few.live[0], e.few.live[0].Priority
	}
}

// answered is a path that a policy of a route answers for the whole host.
type answered struct {
	path  string
	route *Route
}

// findAnswered finds the paths that policies answer by themselves, and a route for each.
func (e *entry) findAnswered() {
	var all []answered
	for b := range e.buckets() {
		for _, r := range b.live {
			for _, path := range r.Policies.AnsweredPaths() {
				if !slices.ContainsFunc(all, func(a answered) bool { return a.path == path }) {
					all = append(all, answered{path, r})
				}
			}
		}
	}
	if len(all) > 0 {
		e.answered = &all
	}
}

// answering returns the route with the policy that answers a path for the whole host, nil
// for none.
func (e *entry) answering(path []byte) *Route {
	if e == nil || e.answered == nil {
		return nil
	}
	for _, a := range *e.answered {
		if a.path == string(path) {
			return a.route
		}
	}
	return nil
}

// hasGuard reports whether a route of the entry has a guard.
func (e *entry) hasGuard() bool {
	return e != nil && (e.guards || e.many != nil && e.many.guards > 0)
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
	next := &paths{lengths: maps.Clone(p.lengths), priorities: maps.Clone(p.priorities), len: p.len + len(c.add) - len(c.remove), guards: p.guards}
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

// count counts a route that is added or removed.
func (p *paths) count(r *Route, n int) {
	add := func(m map[int]int, key int) {
		if m[key] += n; m[key] == 0 {
			delete(m, key)
		}
	}
	add(p.priorities, r.Priority)
	if r.Policies.Guards() {
		p.guards += n
	}
	if !r.Exact {
		add(p.lengths, len(r.pathKey()))
	}
}

// unconditional reports whether a route takes every path of its host.
func (r *Route) unconditional() bool {
	return r.Path == "/" && !r.Exact && len(r.Conditions) == 0 && !r.guarded && !r.Lingers()
}

// pathKey is the path, without the slash for the root.
func (r *Route) pathKey() string {
	if !r.Exact && r.Path == "/" {
		return ""
	}
	return r.Path
}

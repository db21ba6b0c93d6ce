package router

import (
	"iter"
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
	// spelled are the routes whose path has encoded bytes, nil for most hosts.
	spelled *spelledRoutes

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
		next := &entry{many: e.many.apply(c), holding: e.holding, spelled: e.spelled.apply(c)}
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
	e.spelled = (*spelledRoutes)(nil).apply(&change{add: routes})
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

package router

import (
	"maps"
	"slices"
)

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
	guards     int  // routes with a guard
	normal     bool // paths are in normal spelling: see spelledRoutes
}

// pathShards is the number of shards of a host with many paths.
const pathShards = 128

// apply returns the paths after a change.
func (p *paths) apply(c *change) *paths {
	next := &paths{lengths: maps.Clone(p.lengths), priorities: maps.Clone(p.priorities), len: p.len + len(c.add) - len(c.remove), guards: p.guards, normal: p.normal}
	if next.lengths == nil {
		next.lengths, next.priorities = make(map[int]int), make(map[int]int)
	}
	type place struct {
		exact bool
		path  string
	}
	changes := make(map[place]*change)
	at := func(r *Route) *change {
		key := place{r.Exact, p.keyOf(r)}
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
		add(p.lengths, len(p.keyOf(r)))
	}
}

// unconditional reports whether a route takes every path of its host.
func (r *Route) unconditional() bool {
	return r.Path == "/" && !r.Exact && len(r.Conditions) == 0 && !r.guarded && !r.Lingers()
}

// keyOf is the path by which a route is found.
func (p *paths) keyOf(r *Route) string {
	if p.normal {
		return r.normalPath()
	}
	return r.pathKey()
}

// pathKey is the path, without the slash for the root.
func (r *Route) pathKey() string {
	if !r.Exact && r.Path == "/" {
		return ""
	}
	return r.Path
}

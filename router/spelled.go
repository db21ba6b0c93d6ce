package router

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"serai/internal/urlpath"
)

// spelledRoutes are the routes of a host whose path has encoded bytes, by its normal spelling:
// /caf%C3%A9, /caf%c3%a9 and /%63af%C3%A9 are one path to nearly all servers. No request is routed
// by them; they show which spelling of a path leads past a guard. Immutable; nil has none.
type spelledRoutes struct {
	few  []spelling
	many *paths // nil while there are few
}

// spelling is a route and its path in normal spelling.
type spelling struct {
	path  string
	route *Route
}

// spelledShards is the number of shards of a host with many such routes.
const spelledShards = 16

// isSpelled reports whether the route's path has encoded bytes.
func (r *Route) isSpelled() bool { return isSpelled(r.Path) }

func isSpelled(path string) bool { return strings.IndexByte(path, '%') >= 0 }

// apply returns the routes after a change, nil when none is left.
func (s *spelledRoutes) apply(c *change) *spelledRoutes {
	spelled := func(of []*Route) (some []*Route) {
		for _, r := range of {
			if r.isSpelled() {
				some = append(some, r)
			}
		}
		return some
	}
	add, remove := spelled(c.add), spelled(c.remove)
	if len(add) == 0 && len(remove) == 0 {
		return s
	}
	routes := append(without(s.all(), remove), add...)
	switch {
	case len(routes) == 0:
		return nil
	case len(routes) > maxFew:
		empty := &paths{exact: newIndex[*bucket](spelledShards), prefix: newIndex[*bucket](spelledShards), normal: true}
		return &spelledRoutes{many: empty.apply(&change{add: routes})}
	}
	slices.SortFunc(routes, (*Route).nearerNormal)
	next := &spelledRoutes{few: make([]spelling, len(routes))}
	for i, r := range routes {
		next.few[i] = spelling{r.normalPath(), r}
	}
	return next
}

// all iterates over the routes.
func (s *spelledRoutes) all() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		if s == nil {
			return
		}
		for _, one := range s.few {
			if !yield(one.route) {
				return
			}
		}
		if s.many == nil {
			return
		}
		for r := range (&entry{many: s.many}).all() {
			if !yield(r) {
				return
			}
		}
	}
}

// inSpelled returns the first of the routes that takes the request as it is read now.
func (f *finding) inSpelled(s *spelledRoutes) *Route {
	if s.many != nil {
		return f.inPaths(s.many)
	}
	for _, one := range s.few {
		n := len(one.path)
		below := len(f.q.Path) > n && f.q.Path[n] == '/' && !one.route.Exact
		if (len(f.q.Path) == n || below) && string(f.q.Path[:n]) == one.path && f.takes(one.route) {
			return one.route
		}
	}
	return nil
}

// nearerSpelled returns the route that would take the request if all paths were spelled normally.
// Either may be nil.
func nearerSpelled(a, b *Route) *Route {
	if a == nil || b != nil && b.nearerNormal(a) < 0 {
		return b
	}
	return a
}

// normalPath is the path in normal spelling.
func (r *Route) normalPath() string { return string(urlpath.AppendNormal(nil, []byte(r.Path))) }

// nearerNormal is nearer, by the length of paths in normal spelling.
func (r *Route) nearerNormal(o *Route) int {
	return cmp.Or(
		cmp.Compare(o.Priority, r.Priority),
		cmp.Compare(boolInt(o.Exact), boolInt(r.Exact)),
		cmp.Compare(urlpath.NormalLen(o.Path), urlpath.NormalLen(r.Path)),
		r.nearer(o),
	)
}

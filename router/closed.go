package router

import (
	"maps"
	"slices"

	"serai/policy"
)

// A route with a guard whose tags are refused is closed: it takes the requests that its
// tags name, and answers none of them. If it were left out, another route with a shorter
// path could take them, often one of the same instance, and they would pass no guard.

// guarding is what is known of the guards of a route whose tags are being parsed.
type guarding struct {
	// there says that one of its tags is a guard, or looks like a misspelled one.
	there bool
	// unclear says that it is not known which requests the route would take, so that
	// nothing can be closed. Cut says so of its paths: those that were read are closed.
	unclear, cut bool
}

// noteGuard notes what a tag means for that. Flaw is what is wrong with the tag.
func (g *Grammar) noteGuard(r *reading, word string, f *flaw) {
	k := g.keys[word]
	if k == nil {
		k = g.keys[g.nearest(word)]
	}
	switch {
	case k == nil:
	case k.Guard:
		r.guard.there = true
	case f == nil || !g.claims[k.Name] || !validRouteName(r.Name):
	case k.Name == "path" || k.Name == "path-exact":
		r.guard.cut = true
	case k.Name != "host":
		r.guard.unclear = true
	}
}

// closes reports whether the route, whose tags are refused, is to be closed.
func (r *reading) closes() bool {
	paths := len(r.Prefixes) + len(r.Exact)
	return r.guard.there && !r.guard.unclear && len(r.Hosts) > 0 && (paths > 0 || !r.guard.cut) &&
		len(r.Hosts)*max(1, paths) <= maxClaims
}

// refusedRoute is the name of a closed route whose own name is none.
const refusedRoute = "refused"

// closed returns the definition of the closed route.
func (r *reading) closed() *Definition {
	d := r.Definition.closed()
	if !validRouteName(d.Name) {
		d.Name = refusedRoute
	}
	d.settle(r.redirectStatus, false)
	return d
}

// closedRoutes returns the closed definitions of those routes that have a guard, by name.
func closedRoutes(routes map[string]*reading) (definitions []Definition) {
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		if r := routes[name]; r.closes() {
			definitions = append(definitions, *r.closed())
		}
	}
	return definitions
}

// closed returns a definition that takes the same requests and answers none.
func (d *Definition) closed() *Definition {
	shut := newDefinition(d.Name)
	shut.Hosts, shut.DefaultHost, shut.Prefixes, shut.Exact, shut.Conditions, shut.Priority, shut.Class = d.Hosts, d.DefaultHost, d.Prefixes, d.Exact, d.Conditions, d.Priority, d.Class
	shut.Options.TLS, shut.Options.GRPCWeb, shut.Options.OfRoute = d.Options.TLS, d.Options.GRPCWeb, policy.OfRoute{Closed: true}
	shut.size = d.size
	return shut
}

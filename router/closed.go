package router

import (
	"maps"
	"slices"
	"strings"

	"serai/policy"
)

// A route with a guard that is refused, for its tags or since it reaches no instance, is
// closed: it takes the requests that its tags name, and answers none of them. If it were left out, another route with a shorter
// path could take them, often one of the same instance, and they would pass no guard.

// guarding is what is known of the guards of a route whose tags are being parsed.
type guarding struct {
	// there says that one of its tags is a guard, or looks like a misspelled one.
	there bool
	// lost is what of its claim cannot be read, so that it is not known which requests the
	// route would take.
	lost lost
	// unknown says that one of its tags has a key that resembles none, and which may have been
	// a path if there is no other.
	unknown bool
}

// lost are parts of a route's claim that cannot be read. Of hosts and paths some may have been.
type lost struct{ hosts, paths, conditions, class, priority bool }

// note notes that the tag of a key that belongs to the claim cannot be read.
func (l *lost) note(key string) {
	switch key {
	case "host":
		l.hosts = true
	case "path", "path-exact":
		l.paths = true
	case "class":
		l.class = true
	case "priority":
		l.priority = true
	default:
		l.conditions = true
	}
}

// noteGuard notes what a tag means for that. Flaw is what is wrong with the tag.
func (g *Grammar) noteGuard(r *reading, word, value string, f *flaw) {
	k := g.keys[word]
	if k == nil {
		k = g.keys[g.nearest(word)]
	}
	switch {
	case k == nil:
		r.guard.unknown = true
		r.guard.lost.paths = r.guard.lost.paths || strings.HasPrefix(trim(value), "/")
	case k.Guard:
		r.guard.there = true
	case f != nil && g.claims[k.Name]:
		r.guard.lost.note(k.Name)
	}
}

// closes reports whether the route, whose tags are refused, is to be closed.
func (r *reading) closes() bool {
	l := r.guard.lost
	return r.guard.there && !l.class && !l.priority && len(r.Hosts) > 0 && (len(r.Prefixes)+len(r.Exact) > 0 || !l.paths)
}

// refusedRoute is the name of a closed route whose own name is none.
const refusedRoute = "refused"

// closed returns the definition of the closed route. If a condition cannot be read, it takes
// all requests for its paths.
func (r *reading) closed() *Definition {
	d := r.Definition.closed()
	if r.guard.lost.conditions {
		d.Conditions, d.loose = nil, true
	}
	if !validRouteName(d.Name) {
		d.Name = refusedRoute
	}
	d.settle(r.redirectStatus, false)
	return d
}

// refusedWhole returns what becomes of an instance all of whose tags are refused: its routes
// with a guard are closed, and all of them where a guard stands at none. They have as many
// claims together as those of another instance may have.
func (g *Grammar) refusedWhole(tags []string, routes map[string]*reading, why Problem) (definitions []Definition, problems []Problem) {
	problems = []Problem{why}
	stray := g.strayGuard(tags, routes)
	if stray != nil {
		problems = append(problems, *stray)
	}
	var named namedHosts
	names := slices.Sorted(maps.Keys(routes))
	for _, name := range names {
		if r := routes[name]; r.Class == g.class {
			named.add(r.Hosts, r.DefaultHost)
		}
	}
	problems[0].Hosts, problems[0].DefaultHost = named.list, named.byDefault
	left := maxRoutes * maxClaims
	for _, name := range names {
		r := routes[name]
		r.guard.there = r.guard.there || stray != nil
		if !r.closes() {
			continue
		}
		d := r.closed()
		if left -= d.claims(); left < 0 {
			break
		}
		definitions = append(definitions, *d)
	}
	return definitions, problems
}

// closed returns a definition that takes the same requests and answers none.
func (d *Definition) closed() *Definition {
	shut := newDefinition(d.Name)
	shut.Hosts, shut.DefaultHost, shut.Prefixes, shut.Exact, shut.Conditions, shut.Priority, shut.Class = d.Hosts, d.DefaultHost, d.Prefixes, d.Exact, d.Conditions, d.Priority, d.Class
	shut.Options.TLS, shut.Options.GRPCWeb, shut.Options.OfRoute = d.Options.TLS, d.Options.GRPCWeb, policy.OfRoute{Closed: true}
	shut.size = d.size
	// One that claims too much is closed as far as a route may claim: see askAll.
	shut.cut = d.cut || d.claims() > maxClaims
	paths := maxClaims / max(1, len(d.Hosts))
	shut.Prefixes = shut.Prefixes[:min(len(shut.Prefixes), paths)]
	shut.Exact = shut.Exact[:min(len(shut.Exact), paths-len(shut.Prefixes))]
	return shut
}

// claims is how many pairs of host and path the definition claims.
func (d *Definition) claims() int { return len(d.Hosts) * (len(d.Prefixes) + len(d.Exact)) }

// guards reports whether requests for the definition must pass a guard, of its tags or of a
// policy. Its policies have been looked up.
func (d *Definition) guards() bool {
	return slices.ContainsFunc(d.layers, func(l policy.Layer) bool { return l.Route.Guards() })
}

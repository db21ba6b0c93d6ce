package router

import (
	"fmt"
	"reflect"
	"slices"
)

// Two routes of one list of tags may claim the same. If one has a guard and the other none, the
// guard counts: which of them takes a request must not depend on their names. If both have
// guards, and not the same, neither guard may be left out, so both routes are closed.

// settleGuards settles that. Each route has one definition.
func settleGuards(all []Definition) (rest []Definition, problems []Problem) {
	if len(all) < 2 || !slices.ContainsFunc(all, func(d Definition) bool { return d.guarded() }) {
		return all, nil
	}
	problems = closeContradicting(all)
	rest = all
	for i := range all {
		u := &all[i]
		if !u.guarded() {
			continue
		}
		claims := u.claimed()
		var next []Definition
		for j := range rest {
			d := &rest[j]
			if !d.leaves(u, claims) {
				next = append(next, *d)
				continue
			}
			next = append(next, d.without(claims)...)
			problems = append(problems, Problem{
				Route: printable(d.Name), Hosts: d.Hosts, DefaultHost: d.DefaultHost,
				Why:     fmt.Sprintf("route %s has a guard for a host and path that this one claims, too, so this one does not serve them", quote(u.Name)),
				Instead: "one route for them, with the guard",
			})
		}
		rest = next
	}
	return rest, problems
}

// closeContradicting closes routes that claim the same and have different guards.
func closeContradicting(all []Definition) (problems []Problem) {
	shut := make(map[int]int)
	for i := range all {
		u := &all[i]
		if !u.guarded() || u.Options.Closed {
			continue
		}
		claims := u.claimed()
		for j := range all {
			if d := &all[j]; i != j && d.guarded() && !d.Options.Closed && d.meets(u, claims) && !d.sameGuards(u) {
				shut[i] = j
			}
		}
	}
	for i := range all {
		if j, ok := shut[i]; ok {
			problems = append(problems, Problem{
				Route: printable(all[i].Name), Hosts: all[i].Hosts, DefaultHost: all[i].DefaultHost,
				Why:     fmt.Sprintf("route %s claims the same host, path and conditions, and has other guards, so both are closed", quote(all[j].Name)),
				Instead: "one route for them, with all guards",
			})
		}
	}
	for i := range shut {
		all[i] = *all[i].closed()
	}
	return problems
}

// guarded reports whether the tags of a definition have a guard.
func (d *Definition) guarded() bool {
	return d.Options.OfRoute.Guards() || len(d.Options.Policies) > 0
}

// sameGuards reports whether the tags of two definitions have the same guards.
func (d *Definition) sameGuards(o *Definition) bool {
	x, y := &d.Options.OfRoute, &o.Options.OfRoute
	return x.Closed == y.Closed && x.Auth == y.Auth && slices.Equal(x.Policies, y.Policies) &&
		reflect.DeepEqual(x.Allow, y.Allow) && reflect.DeepEqual(x.Deny, y.Deny) && reflect.DeepEqual(x.Rate, y.Rate)
}

// alikeClaims reports whether only hosts and paths tell the claims of two definitions apart. A
// closed one of which a condition cannot be read has every condition.
func (d *Definition) alikeClaims(u *Definition) bool {
	return d.Class == u.Class && d.Priority == u.Priority && (u.loose || conditionsKey(d.Conditions) == conditionsKey(u.Conditions))
}

// claimed are the hosts and paths of a definition, which claims all pairs of them.
type claimed struct{ hosts, prefixes, exact hostSet }

func (d *Definition) claimed() claimed {
	return claimed{setOf(d.Hosts), setOf(d.Prefixes), setOf(d.Exact)}
}

// meets reports whether a definition has a claim in common with another one, which claims these.
func (d *Definition) meets(u *Definition, c claimed) bool {
	return d.alikeClaims(u) && anyIn(c.hosts, d.Hosts) && (anyIn(c.prefixes, d.Prefixes) || anyIn(c.exact, d.Exact))
}

// leaves reports whether a definition leaves claims to another route, which has a guard.
func (d *Definition) leaves(u *Definition, c claimed) bool {
	return d.Name != u.Name && !d.Options.Closed && (!d.guarded() || u.Options.Closed) && d.meets(u, c)
}

// without returns what is left of a definition without these claims.
func (d *Definition) without(c claimed) (rest []Definition) {
	elsewhere, here := *d, *d
	here.Hosts, elsewhere.Hosts = parted(d.Hosts, c.hosts)
	_, here.Prefixes = parted(d.Prefixes, c.prefixes)
	_, here.Exact = parted(d.Exact, c.exact)
	for _, part := range []Definition{elsewhere, here} {
		if part.claims() > 0 {
			rest = append(rest, part)
		}
	}
	return rest
}

func anyIn(set hostSet, list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return set[s] })
}

// parted divides a list into what is in a set and what is not.
func parted(list []string, set hostSet) (in, out []string) {
	for _, s := range list {
		if set[s] {
			in = append(in, s)
		} else {
			out = append(out, s)
		}
	}
	return in, out
}

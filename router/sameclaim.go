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
		var next []Definition
		for j := range rest {
			d := &rest[j]
			left, leaves := d.leave(u)
			if !leaves {
				next = append(next, *d)
				continue
			}
			next = append(next, left...)
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
		for j := range all {
			u, d := &all[i], &all[j]
			if i != j && u.guarded() && d.guarded() && !u.Options.Closed && !d.Options.Closed && !u.sameGuards(d) && u.meets(d) {
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

// meets reports whether two definitions have a claim in common.
func (d *Definition) meets(u *Definition) bool {
	return d.alikeClaims(u) && len(common(d.Hosts, u.Hosts)) > 0 && len(common(d.Prefixes, u.Prefixes))+len(common(d.Exact, u.Exact)) > 0
}

// leave returns what is left of a definition without the claims of another route, which has a
// guard, and whether it has to leave any.
func (d *Definition) leave(u *Definition) (rest []Definition, leaves bool) {
	if d.Name == u.Name || d.Options.Closed || d.guarded() && !u.Options.Closed || !d.meets(u) {
		return nil, false
	}
	elsewhere, here := *d, *d
	elsewhere.Hosts, here.Hosts = except(d.Hosts, u.Hosts), common(d.Hosts, u.Hosts)
	here.Prefixes, here.Exact = except(d.Prefixes, u.Prefixes), except(d.Exact, u.Exact)
	for _, part := range []Definition{elsewhere, here} {
		if part.claims() > 0 {
			rest = append(rest, part)
		}
	}
	return rest, true
}

// common returns the elements of list that are in others, except the rest.
func common(list, others []string) (all []string) {
	for _, s := range list {
		if slices.Contains(others, s) {
			all = append(all, s)
		}
	}
	return all
}

func except(list, others []string) (all []string) {
	for _, s := range list {
		if !slices.Contains(others, s) {
			all = append(all, s)
		}
	}
	return all
}

package router

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"serai/upstream"
)

// bounded returns the lingering routes for which the quotas have room: first those that
// lingered before, then the oldest claims.
func (c *compilation) bounded(routes []*Route) []*Route {
	allowed := c.mayLinger(c.key)
	if len(routes) <= allowed.n {
		return routes
	}
	slices.SortFunc(routes, func(x, y *Route) int {
		return cmp.Or(x.Expires.Compare(y.Expires), cmp.Compare(x.CreateIndex, y.CreateIndex), cmpStrings(x.Name, y.Name, x.Host, y.Host), x.nearer(y))
	})
	over := routes[allowed.n]
	c.unlingered = uint64(len(routes) - allowed.n)
	c.meter.refused[excess{over.Name, "lingering", allowed.of}] = &Rejection{
		Namespace: printable(c.key.Namespace), Service: printable(c.key.Name), Job: printable(over.Job), Route: over.Name, Hosts: []string{over.Host},
		Quota: "lingering-" + allowed.of.String(),
		Why: fmt.Sprintf("%d claims without instances do not wait for the next one: the %s has its %d that do", len(routes)-allowed.n,
			map[scope]string{ofService: "service", ofNamespace: "namespace", ofAll: "whole table"}[allowed.of], c.options.Quotas.Lingering.of(allowed.of)),
		Instead: fmt.Sprintf("redeploys that keep their hosts and paths; the operator can raise --max-lingering-%s", allowed.of),
	}
	return routes[:allowed.n]
}

// linger returns the lingering form of a route that no instance asks for: the route
// without members until it expires, nil when it ends.
//
// It lingers when its instances are gone, because in a redeploy the next ones come
// soon. It ends at once when one of its instances is still registered and no longer
// makes the claim.
func (b *Builder) linger(now time.Time, r *Route, present map[string]bool) *Route {
	if r.Lingers() {
		if r.Expires.After(now) {
			return r
		}
		return nil
	}
	withdrawn := slices.ContainsFunc(r.Pool.Members(), func(m *upstream.Member) bool { return present[m.ID] })
	if b.options.Linger < 0 || withdrawn {
		return nil
	}
	stays := *r
	stays.Expires = now.Add(b.options.Linger)
	stays.Pool = upstream.NewPool(nil, r.Pool.Options(), r.Pool.Room())
	return &stays
}

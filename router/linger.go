package router

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"serai/upstream"
)

// bounded returns the lingering routes for which the quotas have room: first those that
// lingered before, then the oldest claims.
func (c *compilation) bounded(routes []*Route) []*Route {
	if len(routes) == 0 {
		return nil
	}
	slices.SortFunc(routes, func(x, y *Route) int {
		return cmp.Or(x.Expires.Compare(y.Expires), cmp.Compare(x.CreateIndex, y.CreateIndex), cmpStrings(x.Name, y.Name, x.Host, y.Host), x.nearer(y))
	})
	number, bytes := c.mayLinger()
	seen := make(map[*Common]bool)
	for i, r := range routes {
		bytes.n -= r.lingeringBytes(seen)
		switch {
		case i >= number.n:
			c.endLingering(routes[i:], "lingering", number.of, fmt.Sprint(c.options.Quotas.Lingering.of(number.of)))
		case bytes.n < 0:
			c.endLingering(routes[i:], memory.String(), bytes.of, fmt.Sprintf("quarter of %d %s", c.options.Quotas.Memory.of(bytes.of), memory.unit()))
		default:
			continue
		}
		return routes[:i]
	}
	return routes
}

// mayLinger returns how many routes of the service may linger, and how many bytes they
// may take.
func (c *compilation) mayLinger() (number, bytes allowance) {
	q, own := &c.options.Quotas, c.counted[c.key]
	namespace, all := c.used[c.key.Namespace], c.usedByAll
	number = room(q.Lingering, namespace.lingering-own.lingering, all.lingering-own.lingering)
	if q.Lingering.Service < number.n {
		number = allowance{n: q.Lingering.Service, of: ofService}
	}
	share := Limits{q.Memory.Service / lingeringShare, q.Memory.Namespace / lingeringShare, q.Memory.Total / lingeringShare}
	bytes = room(share, namespace.lingeringMemory-own.lingeringMemory, all.lingeringMemory-own.lingeringMemory)
	if share.Service < bytes.n {
		bytes = allowance{n: share.Service, of: ofService}
	}
	return number, bytes
}

// endLingering records that routes do not linger because of a quota.
func (c *compilation) endLingering(routes []*Route, quota string, of scope, has string) {
	over := routes[0]
	c.unlingered = uint64(len(routes))
	c.meter.refused[excess{route: over.Name, what: resources, of: of}] = &Rejection{
		Namespace: printable(c.key.Namespace), Service: printable(c.key.Name), Job: printable(over.Job), Route: over.Name, Hosts: []string{over.Host},
		Quota: quota + "-" + of.String(),
		Why: fmt.Sprintf("%d claims without instances do not wait for the next one: the %s has its %s that do", len(routes),
			map[scope]string{ofService: "service", ofNamespace: "namespace", ofAll: "whole table"}[of], has),
		Instead: fmt.Sprintf("redeploys that keep their hosts and paths; the operator can raise --max-%s-%s", quota, of),
	}
}

// linger returns the lingering form of a route that no instance asks for: the route
// without members until it expires, nil when it ends.
//
// It lingers when its instances are gone, because in a redeploy the next ones come
// soon. It ends at once when one of its instances is still registered and no longer
// makes the claim.
func (c *compilation) linger(now time.Time, r *Route, present map[string]bool) *Route {
	if r.Lingers() {
		if r.Expires.After(now) {
			return r
		}
		return nil
	}
	withdrawn := slices.ContainsFunc(r.Pool.Members(), func(m *upstream.Member) bool { return present[m.ID] })
	if c.options.Linger < 0 || withdrawn {
		return nil
	}
	stays := *r
	// The tags of which these are parts are kept by nobody else.
	stays.Host, stays.Path = strings.Clone(r.Host), strings.Clone(r.Path)
	stays.Expires = now.Add(c.options.Linger)
	key := poolKey{"", r.Pool.Options()} // no other pool has no members
	if empty := c.pools[key]; empty != nil {
		stays.Pool = empty.In(r.Pool.Room())
	} else {
		stays.Pool = upstream.NewPool(nil, key.options, r.Pool.Room())
		c.pools[key] = stays.Pool
	}
	return &stays
}

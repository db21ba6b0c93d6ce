package router

import (
	"slices"
	"strings"

	"serai/discovery"
	"serai/policy"
	"serai/upstream"
)

// Config is the part of Options that the operator may change while serai runs.
type Config struct {
	Catalog *policy.Catalog
	Owners  map[string][]string
	Share   map[string][]string
}

// Configure replaces a part of the options, compiles all services anew, and publishes
// the result as one table. If there is an error nothing has changed.
func (b *Builder) Configure(c Config) error {
	next := b.options
	next.Catalog, next.Owners, next.Share = c.Catalog, c.Owners, c.Share
	if err := next.ValidateHosts(); err != nil {
		return err
	}
	owners, _ := newOwners(next.Owners)
	shares, _ := newOwners(next.shares())
	b.options, b.owners, b.shares, b.questioned = next, owners, shares, askedServices(next.Catalog)
	if !b.started {
		b.router.current.Store(newTable(owners, next.Reserved...))
		return nil
	}
	u := b.begin()
	u.anew = true
	for _, key := range b.everyService() {
		b.replace(u, key, b.services[key].source)
	}
	b.admit(u)
	b.keepAgain()
	b.publish(u, b.router.Current().Index)
	return nil
}

// guardAnew returns a lingering route with the policies that the configuration has for
// it now, closed when its guard is gone.
func (c *compilation) guardAnew(r *Route) *Route {
	common := c.guardedAnew[r.Common]
	if common == nil {
		common = c.commonAnew(r)
		c.guardedAnew[r.Common] = common
	}
	next := *r
	next.Common = common
	next.Pool = upstream.NewPool(nil, r.Pool.Options(), c.room(&next, r))
	next.guarded = c.owners != nil && strings.HasPrefix(r.Host, "*")
	return &next
}

// commonAnew is guardAnew for what a lingering route has in common with others.
func (c *compilation) commonAnew(r *Route) *Common {
	d := Definition{Name: r.Name, Hosts: []string{r.Host}, Options: r.Options, once: r.once}
	if problem := c.takePolicies(&d); problem != nil {
		d = *d.closed()
		c.takePolicies(&d)
	}
	next := *r.Common
	next.Options = d.Options
	next.setPolicies(d.layers)
	return &next
}

// keepAgain finds the routes that are kept, which have been made anew, by their
// identity.
func (b *Builder) keepAgain() {
	for _, all := range b.kept {
		for i, kept := range all {
			s := b.services[discovery.Key{Namespace: kept.Namespace, Name: kept.Service}]
			if s == nil {
				continue
			}
			for _, r := range s.routes {
				if r.routeID() == kept.routeID() {
					all[i] = r
				}
			}
		}
	}
}

// everyService returns all services in the order in which they came.
func (b *Builder) everyService() (keys []discovery.Key) {
	var all []arrival
	for key, s := range b.services {
		all = append(all, arrival{Key: key, index: s.age})
	}
	slices.SortFunc(all, arrival.compare)
	for _, a := range all {
		keys = append(keys, a.Key)
	}
	return keys
}

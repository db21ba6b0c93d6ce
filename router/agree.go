package router

import (
	"slices"
	"strings"

	"serai/discovery"
	"serai/upstream"
)

// Agree sets the order of claims that all nodes share. Trouble says why an order that
// is not yet agreed will not be recorded, for the rejections; it is empty when it soon
// will be.
//
// A lingering route that is removed from the order ends at once, because others have
// seen its end. If it has instances again by then, its age is that of these instances.
func (b *Builder) Agree(a Agreement, trouble string) {
	last := b.agreed
	b.agreed, b.informed, b.trouble = a, true, trouble
	if !b.started {
		return // a table without services would say that there are none
	}
	u := b.begin()
	for host, names := range changedHosts(last, a) {
		b.arrange(u, host, names, last)
	}
	b.admit(u)
	b.keepPlaces(u)
	b.publish(u, b.router.Current().Index)
}

// changedHosts returns the contests whose order differs, by host.
func changedHosts(a, b Agreement) map[string]map[string]bool {
	hosts := make(map[string]map[string]bool)
	note := func(name string) {
		host, _, _ := strings.Cut(name, " ")
		if hosts[host] == nil {
			hosts[host] = make(map[string]bool)
		}
		hosts[host][name] = true
	}
	for name, claimants := range a {
		if !slices.EqualFunc(claimants, b[name], Claimant.Same) {
			note(name)
		}
	}
	for name := range b {
		if a[name] == nil {
			note(name)
		}
	}
	return hosts
}

// arrange gives the routes of contests their new positions.
func (b *Builder) arrange(u *update, host string, names map[string]bool, last Agreement) {
	whose := names[hostContest(host)]
	if whose {
		u.at(host)
	}
	for r := range b.router.Current().entry(host).all() {
		if whose && last.hostPlace(host, r.Namespace) > 0 && b.agreed.hostPlace(host, r.Namespace) == 0 {
			if r.Lingers() {
				b.swap(u, r, nil)
				continue
			}
			if r.CreateIndex != r.present {
				r = b.renew(u, r)
			}
		}
		if !names[r.contest()] {
			continue
		}
		place := b.agreed.place(r)
		switch {
		case place == 0 && r.Lingers() && last.place(r) > 0:
			b.swap(u, r, nil)
		case place != int(r.place):
			moved := *r
			moved.place = int32(place)
			if place == 0 {
				moved.CreateIndex = r.present
			}
			b.swap(u, r, &moved)
		}
	}
}

// renew sets the age of a route to that of its current instances: its older claim has
// ended for other nodes.
func (b *Builder) renew(u *update, r *Route) *Route {
	moved := *r
	moved.CreateIndex = r.present
	b.swap(u, r, &moved)
	return &moved
}

// swap replaces a route of a service by another one, or removes it.
func (b *Builder) swap(u *update, old, next *Route) {
	key := discovery.Key{Namespace: old.Namespace, Name: old.Service}
	s := b.services[key]
	at := slices.Index(s.routes, old)
	c := u.at(old.Host)
	c.drop(old)
	if next != nil {
		s.routes[at] = next
		c.add = append(c.add, next)
		return
	}
	s.routes = slices.Delete(s.routes, at, at+1)
	u.rooms = append(u.rooms, old.Pool.Room())
	b.noteExpiry(key)
	if s.source == nil && len(s.routes) == 0 {
		delete(b.services, key)
	}
}

// noteExpiry notes when the first lingering route of a service expires.
func (b *Builder) noteExpiry(key discovery.Key) {
	b.account(key)
	delete(b.expiries, key)
	for _, r := range b.services[key].routes {
		if at, ok := b.expiries[key]; r.Lingers() && (!ok || r.Expires.Before(at)) {
			b.expiries[key] = r.Expires
		}
	}
}

// keepPlaces keeps, after a start, the agreed positions of services that have no instance
// at this moment. They may be in the gap of a redeploy, in which a service that was
// known before would linger. It does so once.
func (b *Builder) keepPlaces(u *update) {
	if b.placesKept || !b.informed || !b.started {
		return
	}
	b.placesKept = true
	if len(b.agreed) == 0 || b.options.Linger < 0 {
		return
	}
	var rivals []*Route
	for _, s := range b.services {
		rivals = append(rivals, s.routes...)
	}
	claimed := make(map[hostKey]bool)
	for _, r := range rivals {
		claimed[hostKey{r.Namespace, r.Host}] = true
	}
	for _, r := range rivals {
		b.holdPath(u, r)
		b.holdHost(u, r, claimed)
	}
}

// holdPath keeps the positions of services that come before a route in the contest for
// its path.
func (b *Builder) holdPath(u *update, r *Route) {
	if r.place == 1 {
		return
	}
	for i, c := range b.agreed[r.contest()] {
		if i+1 == int(r.place) {
			break
		}
		if s := b.services[c.Key]; c.Conditions == r.claimant().Conditions && (s == nil || s.source == nil) {
			b.hold(u, r, c, i+1)
		}
	}
}

// holdHost keeps the positions of namespaces that come before the route's own in the
// contest for its host, and have no claim on it at this moment.
func (b *Builder) holdHost(u *update, r *Route, claimed map[hostKey]bool) {
	own := b.agreed.hostPlace(r.Host, r.Namespace)
	for i, c := range b.agreed[hostContest(r.Host)] {
		if i+1 == own || r.local() {
			break
		}
		key := hostKey{c.Namespace, r.Host}
		if claimed[key] || claimed[hostKey{c.Namespace, covering(r.Host)}] {
			continue
		}
		if held := b.hold(u, r, c, 0); held != nil {
			b.kept[key] = append(b.kept[key], held)
		}
	}
}

// hostKey is a namespace's claim on a host.
type hostKey struct{ namespace, host string }

// covering returns the wildcard that covers a host.
func covering(host string) string { return "*." + string(parent([]byte(host))) }

// relieve drops the routes that were kept to hold hosts for a namespace, once the
// namespace claims these itself. Requests that wait there are looked up again.
func (b *Builder) relieve(u *update, r *Route) {
	for key, all := range b.kept {
		if key.namespace != r.Namespace || key.host != r.Host && covering(key.host) != r.Host {
			continue
		}
		delete(b.kept, key)
		for _, kept := range all {
			s := b.services[discovery.Key{Namespace: kept.Namespace, Name: kept.Service}]
			if s != nil && slices.Contains(s.routes, kept) {
				b.swap(u, kept, nil)
			}
		}
	}
}

// hold makes a lingering route for a claimant that comes before r.
func (b *Builder) hold(u *update, r *Route, c Claimant, place int) *Route {
	held, common := *r, *r.Common
	held.Common = &common
	held.Namespace, held.Service, held.Name, held.Job = c.Namespace, c.Name, "", c.Job
	held.Stats, held.place, held.Expires = b.newStats(), int32(place), u.now.Add(b.options.Linger)
	held.guarded = b.owners != nil && strings.HasPrefix(r.Host, "*")
	held.Pool = upstream.NewPool(nil, r.Pool.Options(), b.options.Registry.NewRoom(held.Namespace))
	if b.services[c.Key] != nil && slices.ContainsFunc(b.services[c.Key].routes, func(o *Route) bool { return o.routeID() == held.routeID() }) {
		return nil // kept already, for another rival
	}
	if b.services[c.Key] == nil {
		b.services[c.Key] = &service{}
	}
	b.services[c.Key].routes = append(b.services[c.Key].routes, &held)
	u.at(held.Host).add = append(u.at(held.Host).add, &held)
	u.pools = append(u.pools, held.Pool)
	b.noteExpiry(c.Key)
	return &held
}

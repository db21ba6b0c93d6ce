package router

import (
	"slices"
	"strings"

	"serai/discovery"
	"serai/upstream"
)

// Agree orders claims as all nodes do, from now on. Trouble says why what is
// not agreed will not be, for the rejections; empty when it soon will.
//
// A route without instances whose place is taken away goes at once: others have
// seen its end. One that has instances again by then is as old as these.
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
	b.reserve(u)
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

// arrange gives the routes of contests their new places.
func (b *Builder) arrange(u *update, host string, names map[string]bool, last Agreement) {
	for r := range b.router.Current().entry(host).all() {
		if !names[r.contest()] {
			continue
		}
		place := b.agreed.place(r)
		switch {
		case place == 0 && r.Lingers() && last.place(r) > 0:
			b.swap(u, r, nil)
		case place != r.place:
			moved := *r
			moved.place = place
			if place == 0 {
				moved.CreateIndex = r.present
			}
			b.swap(u, r, &moved)
		}
	}
}

// swap puts a route of a service in the place of another, or nothing.
func (b *Builder) swap(u *update, old, next *Route) {
	key := discovery.Key{Namespace: old.Namespace, Name: old.Service}
	s := b.services[key]
	at := slices.Index(s.routes, old)
	c := u.at(old.Host)
	c.remove = append(c.remove, old)
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

// noteExpiry notes when the first lingering route of a service goes.
func (b *Builder) noteExpiry(key discovery.Key) {
	delete(b.expiries, key)
	for _, r := range b.services[key].routes {
		if at, ok := b.expiries[key]; r.Lingers() && (!ok || r.Expires.Before(at)) {
			b.expiries[key] = r.Expires
		}
	}
}

// reserve keeps, after a start, what is agreed for services that have no
// instance at this moment: they may be between two of them, as a service that
// was there before would linger. It does so once.
func (b *Builder) reserve(u *update) {
	if b.reserved || !b.informed || !b.started {
		return
	}
	b.reserved = true
	if len(b.agreed) == 0 || b.options.Linger < 0 {
		return
	}
	var rivals []*Route
	for _, s := range b.services {
		for _, r := range s.routes {
			if r.place != 1 && len(b.agreed[r.contest()]) > 0 {
				rivals = append(rivals, r)
			}
		}
	}
	for _, r := range rivals {
		for i, c := range b.agreed[r.contest()] {
			if i+1 == r.place {
				break
			}
			if s := b.services[c.Key]; c.Conditions == r.claimant().Conditions && (s == nil || s.source == nil) {
				b.hold(u, r, c, i+1)
			}
		}
	}
}

// hold makes a lingering route for a claimant that is ahead of r.
func (b *Builder) hold(u *update, r *Route, c Claimant, place int) {
	held := *r
	held.Namespace, held.Service, held.Name, held.Job = c.Namespace, c.Name, "", c.Job
	held.Stats, held.place, held.Expires = NewStats(), place, u.now.Add(b.options.Linger)
	held.guarded = b.owners != nil && strings.HasPrefix(r.Host, "*")
	held.Pool = upstream.NewPool(nil, r.Pool.Options(), b.options.Registry.NewRoom(held.Namespace))
	if b.services[c.Key] != nil && slices.ContainsFunc(b.services[c.Key].routes, func(o *Route) bool { return o.seat() == held.seat() }) {
		return // for another rival
	}
	if b.services[c.Key] == nil {
		b.services[c.Key] = &service{}
	}
	b.services[c.Key].routes = append(b.services[c.Key].routes, &held)
	u.at(held.Host).add = append(u.at(held.Host).add, &held)
	u.pools = append(u.pools, held.Pool)
	b.noteExpiry(c.Key)
}

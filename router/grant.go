package router

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"serai/discovery"
	"serai/policy"
	"serai/upstream"
)

// petitioner is what instances of one service and list of tags may differ in where
// their claims are concerned: rejections name the job.
type petitioner struct {
	job    string
	byHand bool
}

// petition is one list of tags with all instances of one petitioner that carry it. What
// the first of them gets, all get: so a service costs what its instances and its claims
// cost, not their product.
type petition struct {
	newest *discovery.Instance
	age    uint64 // the lowest Instance.Created
	grants []grant
	// unguarded is why a definition with a guard does not get all its claims, nil when all
	// do. Lacking are those that do not: see yields.
	unguarded *Rejection
	lacking   []*Definition
}

// grant is what came of one definition.
type grant struct {
	// asked says that the quotas of the service permit a claim, granted that all do.
	asked, granted bool
	membership     *membership // the members for its claims
	// yields says that it gets no claim because another one lacks some: see petition.yields.
	yields bool
	// routes is how many routes it gets, bytes what was counted for its definition.
	routes, bytes int
	refusals      []*Rejection
	denied        []*Rejection // for quotas
}

// membership is the members of one petition for the definitions with the same options of
// instances.
type membership struct {
	id      int
	members []*upstream.Member
	at      []int // which instances of the service they are, in the order of their age
	// asked and granted say whether a definition has been granted a claim: see grant.
	// Asking is how many instances are members, or would be if it had been.
	asked, granted bool
	asking         int
	last           int             // the instance that was considered last
	target         upstream.Target // of the instance that is considered
	policies       *policy.List    // of all members
}

// ask is a petition that asks for one route, with what it asks for.
type ask struct {
	petition   *petition
	definition *Definition
	membership *membership
	grant      *grant
}

// petition makes the petition of a list of tags, without any grant.
func (c *compilation) petition(p *parsed) *petition {
	all := &petition{grants: make([]grant, len(p.definitions))}
	for i := range p.definitions {
		if at := p.alike(i); at < i {
			all.grants[i].membership = all.grants[at].membership
			continue
		}
		c.memberships++
		all.grants[i].membership = &membership{id: c.memberships}
	}
	return all
}

// mostCompared bounds the definitions that each one is compared with.
const mostCompared = 8

// alike returns the first definition that has the same members as definition i.
func (p *parsed) alike(i int) int {
	d := &p.definitions[i]
	for at := range min(i, mostCompared) {
		o := &p.definitions[at]
		if o.Class == d.Class && o.Options.Closed == d.Options.Closed && (d.Instance.Check.Path == "" || hostOfCheck(o, p.definitions) == hostOfCheck(d, p.definitions)) &&
			reflect.DeepEqual(o.Instance, d.Instance) && slices.EqualFunc(o.layers, d.layers, policy.Layer.SameForInstances) {
			return at
		}
	}
	return i
}

// ask is the petition of the first instance: it gets what the rules and quotas permit.
func (c *compilation) ask(instance *discovery.Instance, d *Definition, p *petition, g *grant) {
	refuse := func(r Rejection) { g.refusals = append(g.refusals, c.refuse(instance, r.ofDefault(d.DefaultHost))) }
	conditions := conditionsKey(d.Conditions)
	g.yields = p.yields(d)
	for _, host := range d.Hosts {
		f, holder := c.owners.refuse(c.key.Namespace, host)
		if f == nil && !c.owners.covers(host) && !instance.ByHand() {
			f, holder = c.shares.exclude(c.key.Namespace, host)
		}
		if f != nil {
			refuse(Rejection{Route: d.Name, Hosts: []string{host}, Holder: holder, Why: f.why, Instead: f.instead})
			continue
		}
		for i, path := range slices.Concat(d.Prefixes, d.Exact) {
			if f := c.reservedPath(path, instance); f != nil {
				refuse(Rejection{Route: d.Name, Hosts: []string{host}, Why: f.why, Instead: f.instead})
				if d.guards() {
					p.lack(d, &Rejection{Route: d.Name, Instead: f.instead})
				}
				continue
			}
			id := routeID{d.Name, host, claim{path, i >= len(d.Prefixes), d.Priority, conditions}}
			if denied := c.fits(instance, d, id, p, g); denied != nil {
				if !slices.Contains(g.denied, denied) {
					g.denied = append(g.denied, denied)
				}
				continue
			}
			g.granted, g.membership.granted = true, true
			g.routes++
			x := c.demands[id]
			x.asks = append(x.asks, ask{p, d, g.membership, g})
		}
	}
}

// join adds an instance to what its petition was granted.
func (c *compilation) join(instance *discovery.Instance, at reach, all []Definition, p *petition, first bool) {
	if p.newest == nil || newer(instance, p.newest) {
		p.newest = instance
	}
	if p.age == 0 || instance.Created < p.age {
		p.age = instance.Created
	}
	for i := range p.grants {
		g := &p.grants[i]
		of := g.membership
		if !g.asked && !g.granted || of.last == c.instances || all[i].Options.Closed {
			continue // nothing to be a member of, or considered already
		}
		of.last = c.instances
		if first {
			of.asking = 1 // which was counted with its claims
		} else {
			of.target = c.target(instance, at, &all[i], all)
			if !c.fitsMember(instance, &all[i], of) {
				continue
			}
		}
		if of.granted {
			if len(of.members) == 0 {
				of.policies = policy.InstanceLayers(all[i].layers)
			}
			of.members = append(of.members, c.member(instance, &all[i].Instance, of))
			of.at = append(of.at, c.instances)
		}
	}
}

// joinRefused adds an instance to the rejections of its petition.
func (c *compilation) joinRefused(instance *discovery.Instance, p *petition) {
	for i := range p.grants {
		for _, r := range slices.Concat(p.grants[i].refusals, p.grants[i].denied) {
			r.join(cmp.Or(instance.Alloc, instance.ID))
		}
	}
}

// granted reports whether a petition gets the route.
func (x *demand) granted() bool { return x != nil && len(x.asks) > 0 }

// byHand reports whether an operator's file asks for the route, which has no quota.
func (x *demand) byHand() bool {
	return slices.ContainsFunc(x.wanted, func(a ask) bool { return a.petition.newest.ByHand() })
}

// newestOf returns the newest instance of petitions, and what it asks for. One whose tags
// are refused counts only while no other asks: a mistake in a deploy must neither open
// nor close what the instances before it have.
func newestOf(asks []ask) (*discovery.Instance, *Definition) {
	of := &asks[0]
	for i := range asks {
		a := &asks[i]
		closed, before := a.definition.Options.Closed, of.definition.Options.Closed
		if closed == before && newer(a.petition.newest, of.petition.newest) || before && !closed {
			of = a
		}
	}
	return of.petition.newest, of.definition
}

// age returns the age of the oldest instance that gets the route.
func (x *demand) age() uint64 {
	age := x.asks[0].petition.age
	for i := range x.asks {
		age = min(age, x.asks[i].petition.age)
	}
	return age
}

// members returns all instances that ask for the route, the oldest first.
func (x *demand) members() []*upstream.Member {
	if len(x.asks) == 1 {
		return x.asks[0].membership.members
	}
	type placed struct {
		at     int
		member *upstream.Member
	}
	var all []placed
	for _, a := range x.asks {
		for i, m := range a.membership.members {
			all = append(all, placed{a.membership.at[i], m})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	members := make([]*upstream.Member, len(all))
	for i, p := range all {
		members[i] = p.member
	}
	return members
}

// lack notes that a definition with a guard does not get all its claims, and why.
func (p *petition) lack(d *Definition, why *Rejection) {
	if p.unguarded == nil {
		p.unguarded = why
	}
	if !slices.Contains(p.lacking, d) {
		p.lacking = append(p.lacking, d)
	}
}

// yields reports whether a definition gets no claim because one with a guard does not get all of
// its own: it could take what that one guards. It does so without a guard; and with another one,
// for a host that both have.
func (p *petition) yields(d *Definition) bool {
	switch {
	case p.unguarded == nil || d.Options.Closed:
		return false
	case !d.guards():
		return true
	}
	return slices.ContainsFunc(p.lacking, func(of *Definition) bool {
		return d != of && slices.ContainsFunc(of.Hosts, setOf(d.Hosts).covers) && !d.sameGuards(of)
	})
}

// leftOpen is the rejection of the definitions that yield, for p.unguarded.
func (p *petition) leftOpen() Rejection {
	return Rejection{Instance: true, Quota: p.unguarded.Quota, Instead: p.unguarded.Instead,
		Why: fmt.Sprintf("route %s has a guard and does not get all its claims, so the instance's routes without this guard are not served: they could take its requests", quote(p.unguarded.Route))}
}

// dropUnguarded takes routes from petitions that yield to one with a guard that has been refused,
// and reports whether there were any.
func (c *compilation) dropUnguarded() (dropped bool) {
	known := make(map[*grant]bool) // of each, which may have a thousand claims
	for _, id := range c.order {
		c.withdraw(id, func(a *ask) bool {
			yields, ok := known[a.grant]
			if !ok && a.petition.unguarded != nil {
				yields = a.petition.yields(a.definition)
				known[a.grant] = yields
			}
			if !yields {
				return false
			}
			c.refuse(a.petition.newest, a.petition.leftOpen())
			dropped = true
			return true
		})
	}
	return dropped
}

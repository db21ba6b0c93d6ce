package router

import (
	"cmp"
	"slices"

	"serai/discovery"
)

// petitioner is what instances of one service and list of tags may differ in where
// their claims are concerned: rejections name the job.
type petitioner struct {
	job    string
	byHand bool
}

// grant is what came of one definition: it is the same for all further instances.
type grant struct {
	demands  []*demand
	refusals []*Rejection
	denied   []*Rejection // for quotas
}

// ask adds an instance to what one of its definitions claims.
func (c *compilation) ask(instance *discovery.Instance, address string, d *Definition, all []Definition) (g grant) {
	member := -1
	refuse := func(r Rejection) { g.refusals = append(g.refusals, c.refuse(instance, r)) }
	for _, host := range d.Hosts {
		f, holder := c.owners.refuse(c.key.Namespace, host)
		if f == nil && !c.owners.covers(host) && !instance.ByHand() {
			f, holder = c.shares.exclude(c.key.Namespace, host)
		}
		if f != nil {
			refuse(Rejection{Route: d.Name, Hosts: []string{host}, Holder: holder, Why: f.why, Instead: f.instead})
			continue
		}
		conditions := conditionsKey(d.Conditions)
		for i, path := range slices.Concat(d.Prefixes, d.Exact) {
			if f := c.reserved(path, instance); f != nil {
				refuse(Rejection{Route: d.Name, Hosts: []string{host}, Why: f.why, Instead: f.instead})
				continue
			}
			s := routeID{d.Name, host, claim{path, i >= len(d.Prefixes), d.Priority, conditions}}
			if denied := c.fits(instance, d, s); denied != nil {
				if !slices.Contains(g.denied, denied) {
					g.denied = append(g.denied, denied)
				}
				continue
			}
			if member < 0 && !d.Options.Closed {
				member = len(c.members)
				c.members = append(c.members, c.member(instance, address, d, all))
			}
			x := c.demands[s]
			if x == nil {
				x = &demand{conditions: d.Conditions, newest: instance, options: d.Options, once: d.once, layers: d.layers, age: instance.Created}
				c.demands[s] = x
			}
			x.add(instance, d, member)
			g.demands = append(g.demands, x)
		}
	}
	return g
}

// askAgain adds an instance that asks for what another one has asked for.
func (c *compilation) askAgain(instance *discovery.Instance, address string, d *Definition, all []Definition, g *grant) {
	if len(g.demands) > 0 {
		member := -1
		if !d.Options.Closed {
			member = len(c.members)
			c.members = append(c.members, c.member(instance, address, d, all))
		}
		for _, x := range g.demands {
			x.add(instance, d, member)
		}
	}
	for _, r := range slices.Concat(g.refusals, g.denied) {
		r.join(cmp.Or(instance.Alloc, instance.ID))
	}
}

// add adds a member, which an instance asks for; -1 for none, where the instance asks for
// a closed route. That is what the route is only while no other instance asks for it with
// tags that are right: a mistake in a deploy must neither open nor close what the
// instances before it have.
func (x *demand) add(instance *discovery.Instance, d *Definition, member int) {
	if member >= 0 {
		x.members = append(x.members, member)
	}
	x.age = min(x.age, instance.Created)
	if d.Options.Closed && !x.options.Closed {
		return
	}
	if newer(instance, x.newest) || x.options.Closed && !d.Options.Closed {
		x.newest, x.options, x.once, x.layers = instance, d.Options, d.once, d.layers
	}
}

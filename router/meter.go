package router

import (
	"cmp"
	"fmt"
	"slices"
	"unique"

	"serai/discovery"
)

// meter counts what one service uses while it is compiled.
type meter struct {
	quotas  *Quotas
	usage   usage
	allowed allowances
	refused map[excess]*Rejection
	// refusing and refusingOf belong to the last refusal.
	refusing   *discovery.Instance
	refusingOf excess
}

// excess is what is refused of a route because of one quota.
type excess struct {
	route string
	what  resource
	of    scope
}

// charge counts an amount, or says which quota refuses it. Asked is what of it has not
// been asked for yet; it is counted unless the quota of the service refuses it. Members
// leave an eighth of the service's memory to its claims, which came before most of them.
func (m *meter) charge(asked, needed amount, member bool) (over excess, ok bool) {
	for r := range resources {
		limit := m.quotas.limits(r).Service
		if member {
			limit -= limit / 8
		}
		if asked[r] > 0 && m.usage.asked[r]+asked[r] > limit {
			return excess{what: r, of: ofService}, false
		}
	}
	m.usage.asked.add(asked, 1)
	for r := range resources {
		if needed[r] > 0 && m.usage.got[r]+needed[r] > m.allowed[r].n {
			return excess{what: r, of: m.allowed[r].of}, false
		}
	}
	m.usage.got.add(needed, 1)
	return over, true
}

// fits counts a claim of an instance for the service, or refuses it. With the first
// claim of a definition, and of its members, these are counted as well.
func (c *compilation) fits(instance *discovery.Instance, d *Definition, id routeID, p *petition, g *grant) (denied *Rejection) {
	if instance.ByHand() {
		if c.want(d, id, p, g); g.yields {
			return c.refuse(instance, p.leftOpen())
		}
		return nil
	}
	m, of := &c.meter, g.membership
	var asked, needed amount
	x := c.demands[id]
	if !x.granted() {
		needed = id.amount(len(d.Conditions))
	}
	if x == nil {
		asked = id.amount(len(d.Conditions))
	}
	first := bytesOfMember(&of.target, c.targets)
	asked[memory] += unless(g.asked, d.bytes()) + unless(of.asked, first)
	needed[memory] += unless(g.granted, d.bytes()) + unless(of.granted, first)
	if g.yields {
		needed = amount{} // it only counts what it would take
	}
	over, ok := m.charge(asked, needed, false)
	if !ok && over.of == ofService {
		return m.refuse(c, instance, d.Name, id.host, over)
	}
	if !of.asked {
		c.targets = append(c.targets, of.target)
	}
	c.want(d, id, p, g)
	switch {
	case g.yields:
		return c.refuse(instance, p.leftOpen())
	case ok:
		g.bytes += unless(g.granted, d.bytes())
		return nil
	}
	return m.refuse(c, instance, d.Name, id.host, over)
}

// want records that a petition asks for a route, within the quotas of the service.
func (c *compilation) want(d *Definition, id routeID, p *petition, g *grant) {
	x := c.demands[id]
	if x == nil {
		x = &demand{conditions: d.Conditions}
		c.demands[id] = x
		c.order = append(c.order, id)
	}
	x.wanted = append(x.wanted, ask{p, d, g.membership, g})
	g.asked, g.membership.asked = true, true
}

// amount is what a claim needs for itself.
func (id *routeID) amount(n int) amount {
	a := amount{claims: 1, conditions: n, memory: claimBytes}
	if isSpelled(id.path) {
		a[memory] += spelledBytes + len(id.path)
	}
	return a
}

func unless(counted bool, n int) int {
	if counted {
		return 0
	}
	return n
}

// fitsMember counts a further instance for one definition, or refuses it.
func (c *compilation) fitsMember(instance *discovery.Instance, d *Definition, of *membership) bool {
	if instance.ByHand() {
		return true
	}
	need := amount{memory: bytesOfMember(&of.target, c.targets)}
	needed := need
	if !of.granted {
		needed = amount{} // it only counts what it would take
	}
	over, ok := c.meter.charge(need, needed, true)
	if !ok {
		c.meter.refuse(c, instance, d.Name, "", over)
	}
	if ok || over.of != ofService {
		of.asking++
		c.targets = append(c.targets, of.target)
	}
	return ok
}

// settlePools counts the pools of the routes, in the order in which these were claimed, and
// refuses routes whose pool is over a quota; and counts them anew where others go with these.
func (c *compilation) settlePools() {
	asked := make(map[poolKey]bool)
	for {
		pools := c.countPools(asked)
		if !c.dropUnguarded() {
			return
		}
		c.meter.usage.got[memory] -= pools
	}
}

// countPools counts the pools, and returns their bytes. Asked are those that have been asked for.
func (c *compilation) countPools(asked map[poolKey]bool) (bytes int) {
	got := make(map[poolKey]bool)
	need := func(asks []ask, counted map[poolKey]bool) (need amount, key poolKey) {
		if len(asks) > 0 {
			key = c.poolKey(asks)
			need[memory] = unless(counted[key], poolMemory(asks, key.options.Sticky != ""))
		}
		return need, key
	}
	for _, id := range c.order {
		d := c.demands[id]
		if d == nil || d.byHand() {
			continue
		}
		wanted, wants := need(d.wanted, asked)
		needed, needs := need(d.asks, got)
		over, ok := c.meter.charge(wanted, needed, false)
		asked[wants] = asked[wants] || ok || over.of != ofService
		if ok {
			got[needs] = got[needs] || len(d.asks) > 0
			bytes += needed[memory]
			continue
		}
		if d.granted() {
			newest, _ := newestOf(d.asks)
			denied := c.meter.refuse(c, newest, id.name, id.host, over)
			for _, a := range d.asks {
				if a.definition.guards() {
					a.petition.lack(a.definition, denied)
				}
			}
			c.withdraw(id, func(*ask) bool { return true })
		}
		if over.of == ofService {
			c.meter.usage.asked.add(id.amount(len(d.conditions)), -1)
			delete(c.demands, id)
		}
	}
	return bytes
}

// withdraw takes some petitions from a route, and counts out what was counted for them but for
// their instances, which are kept.
func (c *compilation) withdraw(id routeID, from func(*ask) bool) {
	d := c.demands[id]
	if !d.granted() {
		return
	}
	byHand := d.byHand()
	d.asks = slices.DeleteFunc(d.asks, func(a ask) bool {
		if !from(&a) {
			return false
		}
		if a.grant.routes--; a.grant.routes == 0 {
			c.meter.usage.got[memory] -= a.grant.bytes
		}
		return true
	})
	if !d.granted() && !byHand {
		c.meter.usage.got.add(id.amount(len(d.conditions)), -1)
	}
}

// poolMemory is what a pool for these petitions takes.
func poolMemory(asks []ask, sticky bool) int {
	n, pair := 0, pairBytes
	for _, a := range asks {
		n += a.membership.asking
	}
	if len(asks) > 1 {
		pair *= 2
	}
	if sticky {
		pair += stickyBytes
	}
	return poolBytes + n*pair
}

// refuse records something that is over a quota, together with other things of its
// route: a claim of a host, or a whole instance.
func (m *meter) refuse(c *compilation, instance *discovery.Instance, route, host string, x excess) *Rejection {
	x.route = route
	if m.refused[x] == nil && len(m.refused) >= maxRefusals {
		x.route = ""
	}
	r := m.refused[x]
	if r == nil {
		r = &Rejection{
			Namespace: printable(c.key.Namespace), Service: printable(c.key.Name), Job: printable(instance.Job), Route: x.route, Quota: x.what.String() + "-" + x.of.String(),
			Instance: host == "", Instead: fmt.Sprintf("%s; the operator can raise --max-%s-%s", x.what.advice(), x.what, x.of),
		}
		r.Why = fmt.Sprintf("%s %d %s: what came later is refused", [...]string{"the service has its", "the namespace has its", "all namespaces together have their"}[x.of], m.quotas.limits(x.what).of(x.of), x.what.unit())
		if l := m.quotas.limits(x.what); x.of == ofAll && l.spare() > 0 {
			r.Why += fmt.Sprintf(", but for %d that are for namespaces with few", l.spare())
		}
		if user := m.allowed[x.what].user; user != "" && x.of != ofService {
			r.Why += "; most are of " + user
		}
		// Thousands of services may be refused with the same words.
		r.Why, r.Instead, r.Quota = unique.Make(r.Why).Value(), unique.Make(r.Instead).Value(), unique.Make(r.Quota).Value()
		m.refused[x] = r
	}
	if host != "" && len(r.Hosts) < maxAllocs && !slices.Contains(r.Hosts, host) {
		r.Hosts = append(r.Hosts, host)
	}
	if m.refusing != instance || m.refusingOf != x {
		m.refusing, m.refusingOf = instance, x
		r.join(cmp.Or(instance.Alloc, instance.ID))
	}
	return r
}

// unit is what is counted, in words.
func (r resource) unit() string {
	if r == memory {
		return "bytes of the table"
	}
	return r.String()
}

// advice is what uses less of the resource.
func (r resource) advice() string {
	if r == memory {
		return "fewer instances, or fewer hosts, paths and different options"
	}
	return "fewer hosts, paths or conditions"
}

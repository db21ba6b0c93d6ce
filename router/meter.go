package router

import (
	"cmp"
	"fmt"
	"slices"

	"serai/discovery"
)

// meter counts what one service uses while it is compiled.
type meter struct {
	usage   usage
	allowed allowances
	// short are claims within one quota of the service that another quota refuses.
	short   map[routeID]bool
	refused map[excess]*Rejection
	// refusing and refusingOf belong to the last refusal.
	refusing   *discovery.Instance
	refusingOf excess
}

// excess is what is refused of a route because of one quota.
type excess struct {
	route, what string
	of          scope
}

// fits counts a claim of an instance for the service, or refuses it.
func (c *compilation) fits(instance *discovery.Instance, d *Definition, s routeID) (denied *Rejection) {
	if c.demands[s] != nil || instance.ByHand() {
		return nil
	}
	m, q, n := &c.meter, &c.options.Quotas, len(d.Conditions)
	refuse := func(what string, limits Limits, of scope, user string) *Rejection {
		return m.refuse(c, instance, d, s, excess{d.Name, what, of}, limits.of(of), user)
	}
	if !m.short[s] {
		if m.usage.askedClaims >= q.Claims.Service {
			return refuse("claims", q.Claims, ofService, "")
		}
		if n > 0 && m.usage.askedConditions+n > q.Conditions.Service {
			return refuse("conditions", q.Conditions, ofService, "")
		}
		m.usage.askedClaims++
		m.usage.askedConditions += n
		if m.usage.claims < m.allowed.claims.n && (n == 0 || m.usage.conditions+n <= m.allowed.conditions.n) {
			m.usage.claims++
			m.usage.conditions += n
			return nil
		}
		m.short[s] = true
	}
	if a := m.allowed.claims; m.usage.claims >= a.n {
		return refuse("claims", q.Claims, a.of, a.user)
	}
	return refuse("conditions", q.Conditions, m.allowed.conditions.of, m.allowed.conditions.user)
}

// refuse records a claim that is over a quota, together with others of its route.
func (m *meter) refuse(c *compilation, instance *discovery.Instance, d *Definition, s routeID, x excess, limit int, user string) *Rejection {
	r := m.refused[x]
	if r == nil {
		r = &Rejection{
			Namespace: printable(c.key.Namespace), Service: printable(c.key.Name), Job: printable(instance.Job), Route: d.Name, Quota: x.what + "-" + x.of.String(),
			Instead: fmt.Sprintf("fewer hosts, paths or conditions; the operator can raise --max-%s-%s", x.what, x.of),
		}
		switch x.of {
		case ofService:
			r.Why = fmt.Sprintf("the service has its %d %s: what came later is refused", limit, x.what)
		case ofNamespace:
			r.Why = fmt.Sprintf("the namespace has its %d %s: what came later is refused", limit, x.what)
		default:
			r.Why = fmt.Sprintf("all namespaces together have their %d %s: what came later is refused", limit, x.what)
		}
		if user != "" {
			r.Why += "; most are of " + user
		}
		m.refused[x] = r
	}
	if len(r.Hosts) < maxAllocs && !slices.Contains(r.Hosts, s.host) {
		r.Hosts = append(r.Hosts, s.host)
	}
	if m.refusing != instance || m.refusingOf != x {
		m.refusing, m.refusingOf = instance, x
		r.join(cmp.Or(instance.Alloc, instance.ID))
	}
	return r
}

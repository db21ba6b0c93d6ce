package router

import "serai/discovery"

// lacking is which definitions cannot reach an instance: those that reach it itself, those
// that reach it in the mesh, of which only says whether those are among them that do not say.
type lacking struct{ itself, inMesh, only bool }

// reached returns what of a list of tags holds for an instance: without the routes that
// cannot reach it, which are refused. Of these, those with a guard are closed: see closed.go.
func (c *compilation) reached(instance *discovery.Instance, p *parsed, at *reach) *parsed {
	if at.itself.flaw == nil && at.inMesh.flaw == nil {
		return p
	}
	c.refuseUnreached(instance, p, at)
	key := lacking{at.itself.flaw != nil, at.inMesh.flaw != nil, instance.Sidecar != nil && instance.Sidecar.Only}
	if known := p.within[key]; known != nil {
		return known
	}
	rest := &parsed{tags: p.tags, fallback: p.fallback}
	for i := range p.definitions {
		d := p.definitions[i]
		switch {
		case d.Options.Closed || at.of(&d, instance).flaw == nil:
		case d.guards():
			d = *d.closed()
			c.takePolicies(&d)
		default:
			continue
		}
		rest.definitions = append(rest.definitions, d)
	}
	rest.count()
	if p.within == nil {
		p.within = make(map[lacking]*parsed)
	}
	p.within[key] = rest
	return rest
}

// refuseUnreached refuses the routes that cannot reach an instance, as a whole where it is
// all of them for the same reason.
func (c *compilation) refuseUnreached(instance *discovery.Instance, p *parsed, at *reach) {
	whole := at.itself != (way{}) != (at.inMesh != (way{}))
	for i := range p.definitions {
		d := &p.definitions[i]
		f := at.of(d, instance).flaw
		switch {
		case d.Options.Closed || f == nil:
		case whole:
			named := p.hosts(c.options.Class)
			c.refuse(instance, Rejection{Instance: true, Hosts: named.list, DefaultHost: named.byDefault, Why: f.why, Instead: f.instead})
			return
		case d.Class == c.options.Class:
			c.refuse(instance, Rejection{Route: printable(d.Name), Hosts: d.Hosts, DefaultHost: d.DefaultHost, Why: f.why, Instead: f.instead})
		}
	}
}

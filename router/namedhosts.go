package router

// namedHosts are the hosts that instances would have which are refused as a whole, up to as
// many as one route may name: who explains a request for one of them is told of that.
type namedHosts struct {
	list      []string
	byDefault bool // no tag names them
}

// add adds hosts that are new. The list must be nobody else's.
func (n *namedHosts) add(hosts []string, byDefault bool) {
	if len(hosts) == 0 {
		return
	}
	n.byDefault = byDefault && (n.byDefault || len(n.list) == 0)
	for _, host := range hosts {
		if len(n.list) >= maxList {
			return
		}
		n.list = appendNew(n.list, host)
	}
}

// hosts returns what the definitions of a class name.
func (p *parsed) hosts(class string) *namedHosts {
	if p.named == nil {
		p.named = &namedHosts{}
		for i := range p.definitions {
			if d := &p.definitions[i]; d.Class == class {
				p.named.add(d.Hosts, d.DefaultHost)
			}
		}
	}
	return p.named
}

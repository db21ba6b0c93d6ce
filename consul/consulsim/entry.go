package consulsim

import (
	"slices"
	"strings"
)

// entry is an instance in its context.
type entry struct {
	Node    *Node
	Service *Service
	Checks  []*Check
}

// entries lists the instances of a service in Consul's order: by node, then ID.
func (c *catalog) entries(name string) []entry {
	var all []entry
	for id, sv := range c.byName[key(name)] {
		all = append(all, c.entry(c.nodes[id.node], sv))
	}
	sortEntries(all)
	return all
}

// proxies lists what a client in the mesh connects to: the sidecars of a service, and
// its instances that need none.
func (c *catalog) proxies(name string) []entry {
	var all []entry
	for _, ids := range c.byName {
		for id, sv := range ids {
			if sv.Kind == "connect-proxy" && key(sv.Proxy.DestinationServiceName) == key(name) || sv.Connect.Native && key(sv.Service) == key(name) {
				all = append(all, c.entry(c.nodes[id.node], sv))
			}
		}
	}
	sortEntries(all)
	return all
}

func sortEntries(all []entry) {
	slices.SortFunc(all, func(a, b entry) int {
		if o := strings.Compare(key(a.Node.Node), key(b.Node.Node)); o != 0 {
			return o
		}
		return strings.Compare(key(a.Service.ID), key(b.Service.ID))
	})
}

// entry has the checks of the node first, then those of the service.
func (c *catalog) entry(e *nodeEntry, sv *Service) entry {
	found := entry{Node: e.node, Service: sv, Checks: []*Check{}}
	var own []*Check
	for _, ch := range e.sortedChecks() {
		switch {
		case ch.ServiceID == "":
			found.Checks = append(found.Checks, ch)
		case key(ch.ServiceID) == key(sv.ID):
			own = append(own, ch)
		}
	}
	found.Checks = append(found.Checks, own...)
	return found
}

func (e *nodeEntry) sortedChecks() []*Check {
	all := make([]*Check, 0, len(e.checks))
	for _, ch := range e.checks {
		all = append(all, ch)
	}
	slices.SortFunc(all, func(a, b *Check) int { return strings.Compare(key(a.CheckID), key(b.CheckID)) })
	return all
}

// sortedNodes are all nodes in Consul's order.
func (c *catalog) sortedNodes() []*nodeEntry {
	all := make([]*nodeEntry, 0, len(c.nodes))
	for _, e := range c.nodes {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *nodeEntry) int { return strings.Compare(key(a.node.Node), key(b.node.Node)) })
	return all
}

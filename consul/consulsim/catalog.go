package consulsim

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// catalog is what the servers know, with the indexes that blocking queries compare.
// Guarded by Sim.mu.
type catalog struct {
	nodes  map[string]*nodeEntry               // by key of the name
	byName map[string]map[instanceKey]*Service // by key of the service's name
	// Consul keeps an index for each table, and one for each service, which is that of
	// the last change of its instances, of their checks and of their nodes.
	nodesTable, servicesTable, checksTable table
	names                                  map[string]uint64
	// changes is when the instances of a service last changed in fact. Where one gets
	// another name, the index of the old name stays.
	changes map[string]uint64
	// virtual are the addresses of services in the mesh, by key of the name.
	virtual map[string]string
	// free are those that were given back.
	free []string
	// extinction is when the last instance of some service was removed. It is the
	// index of all services that do not exist.
	extinction uint64
}

// table is how new a table is. Consul raises the index of a table also for changes of
// others, but only a change of its own ends the wait of a query.
type table struct{ index, changed uint64 }

func (t *table) change(index uint64) { t.index, t.changed = index, index }

// nodeEntry is a node and what is registered on it.
type nodeEntry struct {
	node     *Node
	services map[string]*Service // by key of the ID
	checks   map[string]*Check   // by key of the ID
}

type instanceKey struct{ node, id string }

// key is how Consul compares names and IDs.
func key(name string) string { return strings.ToLower(name) }

func (c *catalog) init() {
	*c = catalog{
		nodes:  map[string]*nodeEntry{},
		byName: map[string]map[instanceKey]*Service{},
		names:  map[string]uint64{}, changes: map[string]uint64{}, virtual: map[string]string{},
	}
}

// Each of the following changes the catalog at an index, or does nothing when it would
// change nothing: then no index advances.

func (c *catalog) putNode(n Node, index uint64) *nodeEntry {
	e := c.nodes[key(n.Node)]
	if e == nil {
		e = &nodeEntry{services: map[string]*Service{}, checks: map[string]*Check{}}
		c.nodes[key(n.Node)] = e
		n.CreateIndex = index
	} else {
		n.CreateIndex, n.ModifyIndex = e.node.CreateIndex, e.node.ModifyIndex
		if reflect.DeepEqual(n, *e.node) {
			return e
		}
	}
	n.ModifyIndex = index
	e.node = &n
	c.nodesTable.change(index)
	c.touchNode(e, index)
	return e
}

func (c *catalog) putService(e *nodeEntry, sv Service, index uint64) {
	id := instanceKey{key(e.node.Node), key(sv.ID)}
	c.addVirtual(&sv)
	old := e.services[id.id]
	sv.CreateIndex = index
	if old != nil {
		sv.CreateIndex, sv.ModifyIndex = old.CreateIndex, old.ModifyIndex
		if sv.same(*old) {
			return
		}
		// Under another name it is another service. Consul does not raise the index of
		// the old one.
		c.forget(old, id, index)
	}
	sv.ModifyIndex = index
	e.services[id.id] = &sv
	name := key(sv.Service)
	if c.byName[name] == nil {
		c.byName[name] = map[instanceKey]*Service{}
	}
	c.byName[name][id] = &sv
	c.touch(name, index)
	c.servicesTable.change(index)
	c.nodesTable.index = index
}

// same reports whether nothing has changed that counts.
func (sv Service) same(as Service) bool {
	sv.SocketPath = as.SocketPath
	return reflect.DeepEqual(sv, as)
}

// addVirtual adds the address that a service in the mesh, or the service of a sidecar,
// has there: the next free one of a network that is reserved.
func (c *catalog) addVirtual(sv *Service) {
	name := key(sv.Service)
	switch {
	case sv.Kind == "connect-proxy":
		name = key(sv.Proxy.DestinationServiceName)
	case !sv.Connect.Native:
		return
	}
	if c.virtual[name] == "" {
		if len(c.free) == 0 {
			n := len(c.virtual) + 1
			c.free = []string{fmt.Sprintf("240.0.%d.%d", n/256, n%256)}
		}
		c.virtual[name], c.free = c.free[0], c.free[1:]
	}
	sv.TaggedAddresses = maps.Clone(sv.TaggedAddresses)
	if sv.TaggedAddresses == nil {
		sv.TaggedAddresses = map[string]ServiceAddress{}
	}
	sv.TaggedAddresses["consul-virtual"] = ServiceAddress{c.virtual[name], sv.Port}
}

func (c *catalog) freeVirtual(name string) {
	if address, ok := c.virtual[name]; ok {
		delete(c.virtual, name)
		c.free = append(c.free, address)
		slices.Sort(c.free)
	}
}

// putCheck returns false if the check's service does not exist.
func (c *catalog) putCheck(e *nodeEntry, ch Check, index uint64) bool {
	ch.Node = e.node.Node
	if ch.ServiceID != "" {
		sv := e.services[key(ch.ServiceID)]
		if sv == nil {
			return false
		}
		ch.ServiceName, ch.ServiceTags = sv.Service, sv.Tags
	}
	ch.CreateIndex = index
	if old := e.checks[key(ch.CheckID)]; old != nil {
		ch.CreateIndex, ch.ModifyIndex = old.CreateIndex, old.ModifyIndex
		if ch.same(*old) {
			return true
		}
		if key(old.ServiceID) != key(ch.ServiceID) {
			c.move(e, old, index)
		}
	}
	ch.ModifyIndex = index
	e.checks[key(ch.CheckID)] = &ch
	c.checksTable.change(index)
	if ch.ServiceID != "" {
		c.touch(key(ch.ServiceName), index)
	} else {
		c.touchNode(e, index)
	}
	return true
}

// same reports whether nothing has changed that counts: how a check is made does not.
func (c Check) same(as Check) bool {
	c.Type, c.Interval, c.Timeout, c.ExposedPort = as.Type, as.Interval, as.Timeout, as.ExposedPort
	return reflect.DeepEqual(c, as)
}

// move notes that a check is no more one of what it was of, whose index stays.
func (c *catalog) move(e *nodeEntry, old *Check, index uint64) {
	c.changes[key(old.ServiceName)] = index
	for _, sv := range e.services {
		if old.ServiceID == "" {
			c.changes[key(sv.Service)] = index
		}
	}
}

func (c *catalog) dropService(e *nodeEntry, id string, index uint64) bool {
	sv := e.services[key(id)]
	if sv == nil {
		return false
	}
	for _, ch := range e.sortedChecks() {
		if key(ch.ServiceID) == key(id) {
			c.dropCheck(e, ch.CheckID, index)
		}
	}
	delete(e.services, key(id))
	c.servicesTable.change(index)
	c.nodesTable.index, c.checksTable.index = index, index
	c.forget(sv, instanceKey{key(e.node.Node), key(id)}, index)
	name := key(sv.Service)
	if len(c.byName[name]) > 0 {
		c.names[name] = index
		return true
	}
	delete(c.names, name)
	c.extinction = index
	c.freeVirtual(name)
	return true
}

// forget removes an instance from those of its name.
func (c *catalog) forget(sv *Service, id instanceKey, index uint64) {
	name := key(sv.Service)
	c.changes[name] = index
	delete(c.byName[name], id)
	if len(c.byName[name]) == 0 {
		delete(c.byName, name)
	}
}

func (c *catalog) dropCheck(e *nodeEntry, id string, index uint64) bool {
	ch := e.checks[key(id)]
	if ch == nil {
		return false
	}
	delete(e.checks, key(id))
	c.checksTable.change(index)
	if ch.ServiceID != "" {
		c.touch(key(ch.ServiceName), index)
		return true
	}
	c.touchNode(e, index)
	c.servicesTable.index = index
	return true
}

func (c *catalog) dropNode(name string, index uint64) bool {
	e := c.nodes[key(name)]
	if e == nil {
		return false
	}
	for id := range e.services {
		c.dropService(e, id, index)
	}
	for id := range e.checks {
		c.dropCheck(e, id, index)
	}
	delete(c.nodes, key(name))
	c.nodesTable.change(index)
	return true
}

// touchNode raises the indexes of the services on a node, whose entries contain it.
func (c *catalog) touchNode(e *nodeEntry, index uint64) {
	for _, sv := range e.services {
		c.touch(key(sv.Service), index)
	}
}

// touch raises the index of a service.
func (c *catalog) touch(name string, index uint64) { c.names[name], c.changes[name] = index, index }

// changed is when anything has changed.
func (c *catalog) changed() uint64 {
	return max(c.nodesTable.changed, c.servicesTable.changed, c.checksTable.changed)
}

// serviceIndex is the index of a service. exists says whether it has instances, as far as
// they are asked for.
func (c *catalog) serviceIndex(name string, exists, checks bool) uint64 {
	if !exists && c.extinction != 0 {
		return c.extinction
	}
	if index, ok := c.names[key(name)]; ok {
		return index
	}
	index := max(c.nodesTable.index, c.servicesTable.index)
	if checks {
		index = max(index, c.checksTable.index)
	}
	return index
}

// exists reports whether a service has instances.
func (c *catalog) exists(name string) bool { return len(c.byName[key(name)]) > 0 }

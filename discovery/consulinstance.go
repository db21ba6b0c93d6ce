package discovery

import (
	"slices"
	"strings"

	"serai/consul"
)

// ConsulNamespace is the namespace of all services in Consul, which has none in its free
// edition. No namespace of Nomad has a dot in its name: so a service is never taken for
// one of Nomad's with the same name, and whatever names it names its source.
const ConsulNamespace = "consul.default"

// consulOrder is what Consul's indexes begin at among the positions of Instances: indexes
// of Nomad do not get that high. So where nobody has recorded who was first, what Nomad
// lists was, on every node.
const consulOrder = 1 << 52

// Position returns the index that a position in the order of registrations stands for, in
// the source that made it.
func Position(at uint64) (index uint64, ofConsul bool) {
	return at &^ consulOrder, at >= consulOrder
}

// instances makes Instances of what is listed of a service, sorted by ID. Gateways of
// Consul's mesh are none, and sidecars only if they are alone.
func (o *ConsulOptions) instances(l *consulListing, alone bool) []*Instance {
	var all []*Instance
	var shares []int
	for i := range l.entries {
		e := &l.entries[i]
		if e.Service.Kind != "" && !(e.Service.Kind == consul.Sidecar && alone) {
			continue
		}
		instance, share := o.instance(e)
		if e.Service.Kind == consul.Sidecar {
			instance.Sidecar = o.sidecar(e, e.Service.Proxy.DestinationServiceName)
			instance.Sidecar.Only, instance.Sidecar.Unfit = true, ""
		} else {
			instance.Sidecar = o.sidecarOf(e, l.sidecars)
		}
		all, shares = append(all, instance), append(shares, share)
	}
	weigh(all, shares)
	slices.SortFunc(all, byID)
	return slices.CompactFunc(all, func(a, b *Instance) bool { return a.ID == b.ID })
}

// instance makes an Instance, and tells its share in Consul's measure.
func (o *ConsulOptions) instance(e *consul.Entry) (i *Instance, share int) {
	s := &e.Service
	i = &Instance{
		ID: instanceID(e.Node.Node, s.ID), Namespace: ConsulNamespace, Service: s.Service, Alloc: allocOf(s.ID), Node: e.Node.Node,
		Datacenter: e.Node.Datacenter, Tags: tagsOf(s, o.Prefix), Created: consulOrder + s.CreateIndex, Modified: consulOrder + s.ModifyIndex,
	}
	i.Address, i.Port = o.addressOf(e)
	share = s.Weights.Passing
	switch state := worst(e.Checks); {
	case state == consul.Passing:
	case state == consul.Warning && o.Warning:
		if share = s.Weights.Warning; share <= 0 {
			i.Unfit = inConsul(state) // somebody wants none for it
		}
	default:
		i.Unfit = inConsul(state)
	}
	return i, min(max(share, 1), mostShare)
}

// instanceID is the ID of an Instance: one of Consul is unique on its node only.
func instanceID(node, id string) string { return node + "/" + id }

// inConsul is a state as an Instance has it.
func inConsul(state string) string { return state + " in Consul" }

// worst is the state of an instance with these checks, its node's among them.
func worst(checks []consul.Check) string {
	state := consul.Passing
	for i := range checks {
		switch c := &checks[i]; {
		case c.Status == consul.Passing:
		case c.Maintenance():
			return "maintenance"
		case c.Status == consul.Warning && state == consul.Passing:
			state = consul.Warning
		case c.Status != consul.Warning:
			state = consul.Critical
		}
	}
	return state
}

// addressOf is where an instance is reached: at the address with the name that the operator
// chose, where it or its node has one; otherwise at its own, or else its node's.
func (o *ConsulOptions) addressOf(e *consul.Entry) (address string, port int) {
	s := &e.Service
	address, port = s.Address, s.Port
	if address == "" {
		address = e.Node.Address
	}
	if o.Address == "" {
		return address, port
	}
	if a, ok := s.TaggedAddresses[o.Address]; ok && a.Address != "" {
		if a.Port != 0 {
			port = a.Port
		}
		return a.Address, port
	}
	if a := e.Node.TaggedAddresses[o.Address]; a != "" && s.Address == "" {
		return a, port
	}
	return address, port
}

// tagsOf are the tags of a service. One that carries just our prefix has the keys in its
// meta, whose names may have no dot: ingress_host is ingress.host.
func tagsOf(s *consul.Service, prefix string) []string {
	at := slices.Index(s.Tags, prefix)
	if at < 0 {
		return s.Tags
	}
	var keys []string
	for key, value := range s.Meta {
		if rest, ok := strings.CutPrefix(key, prefix+"_"); ok {
			keys = append(keys, prefix+"."+strings.ReplaceAll(rest, "_", ".")+"="+value)
		}
	}
	if len(keys) == 0 {
		return s.Tags
	}
	slices.Sort(keys)
	return slices.Concat(s.Tags[:at], s.Tags[at+1:], keys)
}

// nomadService is how the IDs of services begin that Nomad registers for a task or group,
// before the allocation's ID.
const nomadService = "_nomad-task-"

// allocLen is the length of an allocation's ID, a UUID.
const allocLen = 36

// allocOf is the allocation that a service belongs to, empty when Nomad has not registered
// it.
func allocOf(id string) string {
	rest, ok := strings.CutPrefix(id, nomadService)
	if !ok || len(rest) <= allocLen || rest[allocLen] != '-' || strings.Count(rest[:allocLen], "-") != 4 {
		return ""
	}
	return rest[:allocLen]
}

// mostWeight is the largest weight that is given to an instance, mostShare the largest that Consul
// lets one have (https://developer.hashicorp.com/consul/docs/services/configuration/services-configuration-reference#weights).
const (
	mostWeight = 1000
	mostShare  = 65535
)

// weigh gives instances the weights that Consul gives them, none where they are all equal.
func weigh(all []*Instance, shares []int) {
	if len(shares) == 0 {
		return
	}
	most := slices.Max(shares)
	if slices.Min(shares) == most {
		return
	}
	for n, i := range all {
		i.Weight = max(1, shares[n]*mostWeight/most)
	}
}

package router

import (
	"cmp"
	"strings"

	"serai/discovery"
	"serai/upstream"
)

// hostFor is the Host header for an instance, empty for the client's.
func (o *InstanceOptions) hostFor(address string) string {
	if o.HostIsAddress {
		return address
	}
	return o.Host
}

// target is what serai connects to for one of an instance's definitions.
func (c *compilation) target(instance *discovery.Instance, at reach, d *Definition, all []Definition) upstream.Target {
	o := &d.Instance
	address, peer := at.of(d, instance).address, upstream.Peer{}
	if o.meshed(instance) && !d.Options.Closed {
		peer = peerOf(instance)
	}
	host := o.hostFor(address)
	t := upstream.Target{
		Address: address, Instance: cmp.Or(instance.Alloc, instance.ID), Scheme: o.Scheme,
		TLSName: o.TLSName, TLSInsecure: o.TLSInsecure, ProxyProtocol: o.ProxyProtocol, Check: o.Check, Peer: peer,
		Namespace: instance.Namespace, Job: cmp.Or(instance.Job, instance.Service),
	}
	if t.Scheme.Secure() && t.TLSName == "" {
		t.TLSName = upstream.Hostname(host)
	}
	if t.Check.Path != "" {
		t.Check.Host = cmp.Or(host, hostOfCheck(d, all))
	}
	return t
}

// member makes the pools' member for an instance, and acquires its endpoint.
func (c *compilation) member(instance *discovery.Instance, o *InstanceOptions, of *membership) *upstream.Member {
	e := c.options.Registry.AcquireFor(of.target, instance.Service)
	c.endpoints = append(c.endpoints, e)
	return &upstream.Member{
		Endpoint: e, Weight: weightOf(instance, o), Unfit: o.unfit(instance), MaxInflight: o.MaxInflight, Canary: o.Canary,
		Node: instance.Node, Datacenter: instance.Datacenter, Host: o.hostFor(of.target.Address),
		OfInstance: o.OfInstance, Policies: of.policies,
		Alloc: instance.Alloc, Service: instance.Service, ID: instance.ID,
	}
}

// maxWeight is the largest weight of a member.
const maxWeight = 1000

// weightOf is the share of an instance, as its tags and its source say together.
func weightOf(instance *discovery.Instance, o *InstanceOptions) int {
	switch {
	case o.unfit(instance) != "" || o.Weight == 0:
		return 0
	case instance.Weight == 0:
		return o.Weight
	}
	return min(max(o.Weight*instance.Weight/100, 1), maxWeight)
}

// hostOfCheck returns the Host that a check sends when upstream-host names none: the
// first host that is a name, among the instance's routes that have the same check, so
// that they share it. Empty when there is none.
func hostOfCheck(d *Definition, all []Definition) string {
	for i := range all {
		if all[i].Class != d.Class || all[i].Instance.Check != d.Instance.Check {
			continue
		}
		for _, host := range all[i].Hosts {
			if !strings.HasPrefix(host, "*") {
				return host
			}
		}
	}
	return ""
}

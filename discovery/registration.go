package discovery

import (
	"slices"

	"serai/nomad"
)

// fromNomad makes an Instance of Nomad's registration.
func fromNomad(r *nomad.Registration) *Instance {
	return &Instance{
		ID: r.ID, Namespace: r.Namespace, Service: r.ServiceName, Job: r.JobID, Alloc: r.AllocID, Node: r.NodeID,
		Datacenter: r.Datacenter, Address: r.Address, Port: r.Port, Tags: r.Tags, Created: r.CreateIndex, Modified: r.ModifyIndex,
	}
}

// allFromNomad makes Instances of a service's registrations, sorted by ID.
func allFromNomad(regs []nomad.Registration) []*Instance {
	instances := make([]*Instance, len(regs))
	for i := range regs {
		instances[i] = fromNomad(&regs[i])
	}
	slices.SortFunc(instances, byID)
	return instances
}

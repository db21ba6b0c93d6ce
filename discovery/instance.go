package discovery

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Instance is one address of a service, whichever source registered it. Never modified
// once part of a Service.
//
// In JSON it has the field names of Nomad's registrations: the cache has always been
// written with them, and one of an older or newer serai can still be read.
type Instance struct {
	// ID is unique within the namespace of its source.
	ID        string `json:"ID"`
	Namespace string `json:"Namespace"`
	Service   string `json:"ServiceName"`
	// Job and Alloc are what started it, Node and Datacenter where it runs; each is
	// empty if the source does not know.
	Job        string `json:"JobID"`
	Alloc      string `json:"AllocID"`
	Node       string `json:"NodeID"`
	Datacenter string `json:"Datacenter"`
	// Address and Port are what serai connects to. Address may be empty, or a name, and
	// Port may be 0: such an instance cannot be routed to.
	Address string   `json:"Address"`
	Port    int      `json:"Port"`
	Tags    []string `json:"Tags"`
	// Created and Modified are the positions of its registration, and of the last
	// change of it, in the order in which its source made all of them: the indexes of
	// Nomad, or of Consul's catalog. Higher is later, and 0 means that the source has
	// no such order, as with a file. They are the same on every node. Those of Consul are
	// beyond all of Nomad's (see consulOrder): of two sources, Nomad is the older one.
	Created  uint64 `json:"CreateIndex"`
	Modified uint64 `json:"ModifyIndex"`
	// Weight is the share that the source gives it, in hundredths of what its tags say; 0
	// means that it gives none.
	Weight int `json:"Weight,omitempty"`
	// Unfit says why it takes no requests for now, as far as the source knows, such as
	// `critical in Consul`; empty when it may. It keeps its claims.
	Unfit string `json:"Unfit,omitempty"`
	// Sidecar is how it is reached in Consul's mesh, nil when it is not. Then Address and
	// Port may lead nowhere.
	Sidecar *Sidecar `json:"Sidecar,omitempty"`
}

// Key names the instance's service.
func (i *Instance) Key() Key { return Key{i.Namespace, i.Service} }

// ByHand reports whether an operator wrote the instance into a file. All others have a
// position in the order of their source.
func (i *Instance) ByHand() bool { return i.Created == 0 }

// Key names a service.
type Key struct{ Namespace, Name string }

// Service has the instances of one service, sorted by ID. Never modified once it is
// part of a Snapshot: two snapshots with the same pointer have the same instances,
// which is how a consumer finds what changed.
type Service struct {
	Key
	Instances []*Instance
	// Refused is what is registered besides, and has no room; nil for nothing.
	Refused *Refused
}

// newService sorts instances into a Service.
func newService(key Key, instances iter.Seq[*Instance]) *Service {
	return &Service{Key: key, Instances: slices.SortedFunc(instances, byID)}
}

func byID(a, b *Instance) int { return cmp.Compare(a.ID, b.ID) }

// group makes services of the instances, without services that have none of our tags.
func group(instances []*Instance, prefix string) map[Key]*Service {
	byKey := make(map[Key][]*Instance)
	for _, i := range instances {
		byKey[i.Key()] = append(byKey[i.Key()], i)
	}
	services := make(map[Key]*Service)
	for key, instances := range byKey {
		if anyCarries(instances, prefix) {
			services[key] = newService(key, slices.Values(instances))
		}
	}
	return services
}

// keep replaces each unchanged service by its old pointer.
func keep(next, old map[Key]*Service) {
	for key, s := range next {
		if o := old[key]; o != nil && slices.EqualFunc(o.Instances, s.Instances, same) {
			next[key] = o
		}
	}
}

// same reports whether two registrations have the same content, whenever they were last
// changed.
func same(a, b *Instance) bool {
	return a.ID == b.ID && a.Address == b.Address && a.Port == b.Port && a.Alloc == b.Alloc &&
		a.Node == b.Node && a.Datacenter == b.Datacenter && a.Job == b.Job &&
		a.Created == b.Created && a.Weight == b.Weight && a.Unfit == b.Unfit && sameSidecar(a.Sidecar, b.Sidecar) && slices.Equal(a.Tags, b.Tags)
}

// carries reports whether a tag begins with our prefix, or nearly so: see NearPrefix.
func carries(tags []string, prefix string) bool {
	for _, t := range tags {
		if rest, ok := strings.CutPrefix(t, prefix); ok && (rest == "" || rest[0] == '.' || rest[0] == '=') || NearPrefix(t, prefix) {
			return true
		}
	}
	return false
}

// anyCarries reports whether an instance has one of our tags.
func anyCarries(instances []*Instance, prefix string) bool {
	return slices.ContainsFunc(instances, func(i *Instance) bool { return carries(i.Tags, prefix) })
}

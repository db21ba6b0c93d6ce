package nomadsim

import (
	"fmt"
	"slices"
	"strings"

	"serai/nomad"
)

// serviceTable has the instances. What lists show (committed) differs from the latest
// state while a commit is pending.
type serviceTable struct {
	latest    map[instanceKey]*nomad.Registration
	changed   uint64                         // index of the last change of latest
	committed map[string]map[string]*service // by namespace and name
	index     uint64                         // of the last committed change
	scopes    map[string]uint64              // the same, by namespace
	lists     map[string]encodedList         // by scope
}

type instanceKey struct{ namespace, id string }

// service is one service and its encodings, which all watchers share. The instances are
// never modified; a change replaces them.
type service struct {
	name      string
	instances map[string]*nomad.Registration
	index     uint64
	get, stub []byte // nil when outdated
}

type encodedList struct {
	index uint64
	body  []byte
}

func (t *serviceTable) init() {
	t.latest = map[instanceKey]*nomad.Registration{}
	t.committed = map[string]map[string]*service{}
	t.scopes = map[string]uint64{}
	t.lists = map[string]encodedList{}
	t.changed, t.index = 1, 1
}

// Register adds or changes instances in one change and returns its index. Empty fields
// get defaults: namespace default, IDs made of the other fields. An existing instance
// keeps its CreateIndex; an identical one is written again all the same, as Nomad does.
// Registering the same ID with other tags is what the promotion of a canary looks like.
func (s *Sim) Register(regs ...nomad.Registration) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	index := s.index
	changed := make([]*nomad.Registration, len(regs))
	for i := range regs {
		changed[i] = s.upsert(regs[i], index)
		s.deriveJob(changed[i])
	}
	s.services.changed = index
	s.publish(typeRegistration, changed, index)
	s.commit(func() { s.services.put(changed, index) })
	return index
}

// Load adds instances as if they had been there for long: in one change without an
// event.
func (s *Sim) Load(regs ...nomad.Registration) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	index := s.index
	changed := make([]*nomad.Registration, len(regs))
	for i := range regs {
		changed[i] = s.upsert(regs[i], index)
		s.deriveJob(changed[i])
	}
	s.services.changed = index
	s.commit(func() { s.services.put(changed, index) })
	return index
}

func (s *Sim) upsert(reg nomad.Registration, index uint64) *nomad.Registration {
	if reg.Namespace == "" {
		reg.Namespace = nomad.DefaultNamespace
	}
	if reg.JobID == "" {
		reg.JobID = reg.ServiceName
	}
	if reg.AllocID == "" {
		reg.AllocID = fmt.Sprintf("alloc-%s-%d", reg.ServiceName, reg.Port)
	}
	if reg.ID == "" {
		reg.ID = fmt.Sprintf("_nomad-task-%s-group-%s-%s-http", reg.AllocID, reg.JobID, reg.ServiceName)
	}
	if reg.NodeID == "" {
		reg.NodeID = "node-1"
	}
	if reg.Datacenter == "" {
		reg.Datacenter = Datacenter
	}
	if reg.Tags == nil {
		reg.Tags = []string{}
	}
	reg.Tags = slices.Clone(reg.Tags)
	key := instanceKey{reg.Namespace, reg.ID}
	reg.CreateIndex, reg.ModifyIndex = index, index
	if old := s.services.latest[key]; old != nil {
		reg.CreateIndex = old.CreateIndex
	}
	s.services.latest[key] = &reg
	return &reg
}

// Deregister removes one instance, with a ServiceDeregistration event. It
// returns 0 when there is none of that ID.
func (s *Sim) Deregister(namespace, id string) uint64 {
	return s.remove(typeDeregistration, func(r *nomad.Registration) bool {
		return r.ID == id && r.Namespace == namespace
	})
}

// DeregisterAll removes every instance that match selects, each in a change of its own,
// like an agent that stops its allocations one by one. It returns the last index.
func (s *Sim) DeregisterAll(match func(nomad.Registration) bool) uint64 {
	s.mu.Lock()
	var keys []instanceKey
	for k, r := range s.services.latest {
		if match(*r) {
			keys = append(keys, k)
		}
	}
	s.mu.Unlock()
	var index uint64
	for _, k := range keys {
		if i := s.Deregister(k.namespace, k.id); i != 0 {
			index = i
		}
	}
	return index
}

// StopAlloc removes all instances of an allocation in one change, whose events have the
// type AllocationUpdated: the allocation died and its client could not deregister it.
func (s *Sim) StopAlloc(allocID string) uint64 {
	return s.remove(typeAllocationUpdated, func(r *nomad.Registration) bool { return r.AllocID == allocID })
}

// StopNode removes all instances of a node in one change, whose events have the type
// PlanResult: its heartbeat was missed.
func (s *Sim) StopNode(nodeID string) uint64 {
	return s.remove(typePlanResult, func(r *nomad.Registration) bool { return r.NodeID == nodeID })
}

// Promote registers an instance again with other tags. It returns 0 when
// there is none of that ID.
func (s *Sim) Promote(namespace, id string, tags []string) uint64 {
	s.mu.Lock()
	old := s.services.latest[instanceKey{namespace, id}]
	s.mu.Unlock()
	if old == nil {
		return 0
	}
	reg := *old
	reg.Tags = tags
	return s.Register(reg)
}

// Registrations lists what is registered now, in no particular order.
func (s *Sim) Registrations() []nomad.Registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	regs := make([]nomad.Registration, 0, len(s.services.latest))
	for _, r := range s.services.latest {
		regs = append(regs, *r)
	}
	return regs
}

// remove drops matching instances in one change.
func (s *Sim) remove(eventType string, match func(*nomad.Registration) bool) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gone []*nomad.Registration
	for k, r := range s.services.latest {
		if match(r) {
			gone = append(gone, r)
			delete(s.services.latest, k)
		}
	}
	if len(gone) == 0 {
		return 0
	}
	slices.SortFunc(gone, func(a, b *nomad.Registration) int { return strings.Compare(a.ID, b.ID) })
	s.index++
	index := s.index
	s.services.changed = index
	s.publish(eventType, gone, index)
	s.commit(func() { s.services.drop(gone, index) })
	return index
}

// put commits instances.
func (t *serviceTable) put(regs []*nomad.Registration, index uint64) {
	for _, r := range regs {
		names := t.committed[r.Namespace]
		if names == nil {
			names = map[string]*service{}
			t.committed[r.Namespace] = names
		}
		sv := names[r.ServiceName]
		if sv == nil {
			sv = &service{name: r.ServiceName, instances: map[string]*nomad.Registration{}}
			names[r.ServiceName] = sv
		}
		sv.instances[r.ID] = r
		t.touch(sv, r.Namespace, index)
	}
	t.index = index
}

// drop commits removals. A service without instances stays as an empty entry, so that a
// query blocked on it is woken.
func (t *serviceTable) drop(regs []*nomad.Registration, index uint64) {
	for _, r := range regs {
		sv := t.committed[r.Namespace][r.ServiceName]
		delete(sv.instances, r.ID)
		t.touch(sv, r.Namespace, index)
	}
	t.index = index
}

func (t *serviceTable) touch(sv *service, namespace string, index uint64) {
	sv.index, sv.get, sv.stub = index, nil, nil
	t.scopes[namespace] = index
}

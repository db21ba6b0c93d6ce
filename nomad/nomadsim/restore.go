package nomadsim

import (
	"maps"

	"serai/nomad"
)

// Saved is the state of an agent's services and namespaces at one moment.
type Saved struct {
	regs       []*nomad.Registration
	namespaces map[string]uint64
	table      uint64 // index of the services
	index      uint64
}

// Save returns the state as it is, as `nomad operator snapshot save` does.
func (s *Sim) Save() *Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := &Saved{namespaces: maps.Clone(s.namespaces.names), table: s.services.index, index: s.index}
	for _, r := range s.services.latest {
		saved.regs = append(saved.regs, r)
		saved.table = max(saved.table, r.ModifyIndex) // what is not committed yet
	}
	return saved
}

// Restore goes back to a state: its services have the indexes that they had, no
// event is remembered, and streams end. A cluster that lives counts on from its
// own index; one that was built anew goes on at the state's.
func (s *Sim) Restore(saved *Saved, anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = nil
	s.services.init()
	for _, r := range saved.regs {
		s.services.latest[instanceKey{r.Namespace, r.ID}] = r
		s.services.put([]*nomad.Registration{r}, r.ModifyIndex)
	}
	s.services.index = saved.table
	s.namespaces.names, s.namespaces.index = maps.Clone(saved.namespaces), saved.index
	if anew {
		s.index = saved.index
	} else {
		s.index++
	}
	s.buffer = newEventBuffer(s.options.Buffer)
	for sub := range s.access.subs {
		sub.end()
	}
	s.wake()
}

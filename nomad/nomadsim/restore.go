package nomadsim

import (
	"maps"

	"serai/nomad"
)

// State is what `nomad operator snapshot save` saves: services, namespaces, jobs and
// variables, with their indexes.
type State struct {
	regs       []*nomad.Registration
	namespaces map[string]uint64
	table      uint64 // index of the services
	index      uint64
	jobs       jobTable
	variables  variableTable
}

// Save returns the current state.
func (s *Sim) Save() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := &State{
		namespaces: maps.Clone(s.namespaces.names), table: s.services.changed, index: s.index,
		jobs: s.jobs.clone(), variables: s.variables.clone(),
	}
	for _, r := range s.services.latest {
		state.regs = append(state.regs, r)
	}
	return state
}

// Restore goes back to a state, like `nomad operator snapshot restore`: restored
// objects have their old indexes, no event is remembered, streams end and blocked
// queries answer. A running cluster counts on from its own index; one that was built
// anew counts on from the state's. A real server may leave streams open for a while, without
// events, and lets blocked queries wait on for a newer index (seen, 2.0.5).
func (s *Sim) Restore(state *State, anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = nil
	s.services.init()
	for _, r := range state.regs {
		s.services.latest[instanceKey{r.Namespace, r.ID}] = r
		s.services.put([]*nomad.Registration{r}, r.ModifyIndex)
	}
	s.services.changed, s.services.index = state.table, state.table
	s.namespaces.names, s.namespaces.index = maps.Clone(state.namespaces), state.index
	s.jobs, s.variables = state.jobs.clone(), state.variables.clone()
	if anew {
		s.index = state.index
	} else {
		s.index++
	}
	s.buffer = newEventBuffer(s.options.Buffer)
	for sub := range s.access.subs {
		sub.end()
	}
	s.restored++
	s.wake()
}

func (t *jobTable) clone() jobTable { return jobTable{maps.Clone(t.jobs), t.index} }

func (t *variableTable) clone() variableTable {
	c := *t
	c.rows, c.scopes, c.clocks, c.gone = maps.Clone(t.rows), maps.Clone(t.scopes), maps.Clone(t.clocks), maps.Clone(t.gone)
	c.releases = append([]lockRelease(nil), t.releases...)
	return c
}

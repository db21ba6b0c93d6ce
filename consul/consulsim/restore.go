package consulsim

import (
	"maps"
	"slices"
)

// State is what `consul snapshot save` saves: the catalog, with its indexes.
type State struct {
	catalog catalog
	index   uint64
}

// Save returns the current state.
func (s *Sim) Save() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &State{s.catalog.clone(), s.index}
}

// Restore goes back to a state, like `consul snapshot restore`: everything has its old
// indexes, and blocked queries answer. A running cluster counts on from its own index.
// What agents have registered since then comes back when they compare: see Sync.
func (s *Sim) Restore(state *State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalog = state.catalog.clone()
	s.index++
	clear(s.encoded)
	s.resets++
	s.wake()
}

func (c *catalog) clone() catalog {
	n := *c
	n.names, n.virtual = maps.Clone(c.names), maps.Clone(c.virtual)
	n.changes, n.free = maps.Clone(c.changes), slices.Clone(c.free)
	n.nodes = make(map[string]*nodeEntry, len(c.nodes))
	for k, e := range c.nodes {
		n.nodes[k] = &nodeEntry{e.node, maps.Clone(e.services), maps.Clone(e.checks)}
	}
	n.byName = make(map[string]map[instanceKey]*Service, len(c.byName))
	for k, ids := range c.byName {
		n.byName[k] = maps.Clone(ids)
	}
	return n
}

package nomadsim

import "maps"

// State is what `nomad operator snapshot save` keeps: services, jobs and
// variables, with their indexes.
type State struct {
	services  serviceTable
	jobs      jobTable
	variables variableTable
}

// Save returns the state as it is.
func (s *Sim) Save() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.now())
	return &State{s.services.clone(), s.jobs.clone(), s.variables.clone()}
}

// Restore goes back to a state, as `nomad operator snapshot restore` does:
// event streams end, blocked queries answer, and the indexes of what was
// restored are older than those that were answered before. New changes have
// indexes that are newer than all before.
func (s *Sim) Restore(state *State) {
	s.mu.Lock()
	for sub := range s.access.subs {
		sub.end()
	}
	defer s.mu.Unlock()
	s.index++
	s.pending = nil
	s.services, s.jobs, s.variables = state.services.clone(), state.jobs.clone(), state.variables.clone()
	s.buffer = newEventBuffer(s.options.Buffer)
	s.restored++
	s.wake()
}

func (t *serviceTable) clone() serviceTable {
	c := *t
	c.latest, c.scopes, c.lists = maps.Clone(t.latest), maps.Clone(t.scopes), map[string]encodedList{}
	c.committed = map[string]map[string]*service{}
	for namespace, names := range t.committed {
		c.committed[namespace] = map[string]*service{}
		for name, sv := range names {
			c.committed[namespace][name] = &service{name: name, instances: maps.Clone(sv.instances), index: sv.index}
		}
	}
	return c
}

func (t *jobTable) clone() jobTable { return jobTable{maps.Clone(t.jobs), t.index} }

func (t *variableTable) clone() variableTable {
	c := *t
	c.rows, c.scopes, c.clocks, c.gone = maps.Clone(t.rows), maps.Clone(t.scopes), maps.Clone(t.clocks), maps.Clone(t.gone)
	c.releases = append([]lockRelease(nil), t.releases...)
	return c
}

package discovery

import (
	"maps"
	"slices"
	"time"

	"serai/nomad"
)

// view is what a Watcher knows. It is changed in place; the services that it passes on
// are not.
type view struct {
	prefix   string
	services map[Key]*Service
	// known is the index as of which each service is known; for all others it is floor.
	known map[Key]uint64
	floor uint64
	// changed is when the oldest change became known that is in no snapshot yet.
	changed time.Time
	dirty   bool

	// store bounds what is kept. newest are the kept instances of each namespace, hollow
	// the services of which nothing is kept; buried says that some are not even named.
	// freed says that something has been given back since lacks was asked.
	store         *Store
	newest        map[string]*byAge
	hollow        map[Key]bool
	buried, freed bool
}

// newView makes a view of what a snapshot has, as far as the store has room for it.
func newView(prefix string, from *Snapshot, store *Store) *view {
	v := &view{
		prefix: prefix, services: make(map[Key]*Service), known: make(map[Key]uint64),
		store: store, newest: make(map[string]*byAge), hollow: make(map[Key]bool),
	}
	if from == nil {
		return v
	}
	for key, s := range from.Services {
		if v.put(key, s.Instances, nil); v.services[key] != nil && v.services[key].Refused == nil {
			v.services[key] = s // the same pointer
		}
	}
	v.dirty, v.freed = false, false
	return v
}

// cached is a snapshot with what of it is kept.
func (v *view) cached(from *Snapshot) *Snapshot {
	s := *from
	s.Services = maps.Clone(v.services)
	return &s
}

// snapshot returns what is known now.
func (v *view) snapshot() *Snapshot {
	s := &Snapshot{Services: maps.Clone(v.services), Index: v.index(), Changed: v.changed}
	v.changed, v.dirty = time.Time{}, false
	return s
}

func (v *view) index() uint64 {
	index := v.floor
	for _, i := range v.known {
		index = max(index, i)
	}
	return index
}

// asOf is the index as of which a service is known.
func (v *view) asOf(key Key) uint64 { return max(v.known[key], v.floor) }

// apply applies one event. An event that is older than what is known changes nothing.
func (v *view) apply(e *nomad.Event, received time.Time) {
	instance := fromNomad(&e.Registration)
	key := instance.Key()
	if e.Index < v.asOf(key) {
		return
	}
	old := v.services[key]
	if old == nil && (e.Deleted || !carries(instance.Tags, v.prefix)) {
		return // not one of our services
	}
	v.known[key] = e.Index
	var instances []*Instance
	var refused *Refused
	if old != nil {
		instances, refused = old.Instances, old.Refused
	}
	at, found := slices.BinarySearchFunc(instances, instance, byID)
	switch {
	case e.Deleted && !found:
		v.freed = v.freed || refused != nil // it may be one of those
		return
	case e.Deleted:
		instances = slices.Delete(slices.Clone(instances), at, at+1)
	case found && same(instances[at], instance):
		return
	case found:
		instances = slices.Clone(instances)
		instances[at] = instance
	default:
		instances = slices.Insert(slices.Clone(instances), at, instance)
	}
	v.put(key, instances, refused)
	if v.changed.IsZero() {
		v.changed = received
	}
}

// replace applies the instances of a service as of index.
func (v *view) replace(key Key, regs []nomad.Registration, index uint64) {
	v.known[key] = index
	v.update(key, allFromNomad(regs))
}

// update sets the instances of a service, sorted by ID, if it is one of ours and they are
// not what is known.
func (v *view) update(key Key, instances []*Instance) {
	old := v.services[key]
	if old != nil {
		for i, next := range instances { // what is the same keeps its place in the store
			if at, found := slices.BinarySearchFunc(old.Instances, next, byID); found && same(old.Instances[at], next) {
				instances[i] = old.Instances[at]
			}
		}
	}
	if old != nil && old.Refused == nil && slices.Equal(old.Instances, instances) {
		return
	}
	if v.services[key] == nil && !anyCarries(instances, v.prefix) {
		return
	}
	v.put(key, instances, nil)
}

// settle ends a reading. In the namespaces that it confirmed, a service that is not
// listed at index, and is not known from anything newer, is gone. A full reading makes
// index the floor of all services without an index of their own.
func (v *view) settle(index uint64, confirmed map[string]bool, listed map[Key]bool, full bool) {
	for key := range v.services {
		if confirmed[key.Namespace] && !listed[key] && v.known[key] <= index {
			v.put(key, nil, nil)
			v.known[key] = index // older events must not bring it back
		}
	}
	if full {
		v.floor = index
		v.forget(index)
	}
}

// forget drops what is remembered of services that are gone since index.
func (v *view) forget(index uint64) {
	for key, i := range v.known {
		if v.services[key] == nil && i <= index {
			delete(v.known, key)
		}
	}
}

// tags are the tags of all instances, each once.
func (s *Service) tags() []string {
	var all []string
	for _, i := range s.Instances {
		all = append(all, i.Tags...)
	}
	return sortedSet(all)
}

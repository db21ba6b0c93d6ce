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
}

func newView(prefix string, from *Snapshot) *view {
	v := &view{prefix: prefix, services: make(map[Key]*Service), known: make(map[Key]uint64)}
	if from != nil {
		maps.Copy(v.services, from.Services)
	}
	return v
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
	if old != nil {
		instances = old.Instances
	}
	at, found := slices.BinarySearchFunc(instances, instance, byID)
	switch {
	case e.Deleted && !found:
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
	v.put(key, instances)
	if v.changed.IsZero() {
		v.changed = received
	}
}

// replace applies the instances of a service as of index.
func (v *view) replace(key Key, regs []nomad.Registration, index uint64) {
	v.known[key] = index
	instances := allFromNomad(regs)
	if old := v.services[key]; old != nil && slices.EqualFunc(old.Instances, instances, same) {
		return
	}
	if v.services[key] == nil && !anyCarries(instances, v.prefix) {
		return
	}
	v.put(key, instances)
}

// put sets the instances of a service; none removes it.
func (v *view) put(key Key, instances []*Instance) {
	v.dirty = true
	if len(instances) == 0 {
		delete(v.services, key)
		return
	}
	v.services[key] = &Service{Key: key, Instances: instances}
}

// settle ends a reading. In the namespaces that it confirmed, a service that is not
// listed at index, and is not known from anything newer, is gone. A full reading makes
// index the floor of all services without an index of their own.
func (v *view) settle(index uint64, confirmed map[string]bool, listed map[Key]bool, full bool) {
	for key := range v.services {
		if confirmed[key.Namespace] && !listed[key] && v.known[key] <= index {
			v.put(key, nil)
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

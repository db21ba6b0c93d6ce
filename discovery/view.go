package discovery

import (
	"maps"
	"slices"
	"strings"
	"time"

	"serai/nomad"
)

// view is what a Watcher knows. It is changed in place; the services that it
// hands out are not.
type view struct {
	prefix   string
	services map[Key]*Service
	// known is the index as of which each service is known; for all others it
	// is floor.
	known map[Key]uint64
	floor uint64
	// changed is when the oldest change became known that no snapshot has.
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

// snapshot hands out what is known now.
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

// apply brings in one event. An event that is older than what is known says
// nothing new.
func (v *view) apply(e *nomad.Event, received time.Time) {
	reg := &e.Registration
	key := Key{reg.Namespace, reg.ServiceName}
	if e.Index < v.asOf(key) {
		return
	}
	old := v.services[key]
	if old == nil && (e.Deleted || !carries(reg.Tags, v.prefix)) {
		return // nothing to do with us
	}
	v.known[key] = e.Index
	var instances []*Instance
	if old != nil {
		instances = old.Instances
	}
	at, found := slices.BinarySearchFunc(instances, reg.ID, func(i *Instance, id string) int { return strings.Compare(i.ID, id) })
	switch {
	case e.Deleted && !found:
		return
	case e.Deleted:
		instances = slices.Delete(slices.Clone(instances), at, at+1)
	case found && same(instances[at], reg):
		return
	case found:
		instances = slices.Clone(instances)
		instances[at] = reg
	default:
		instances = slices.Insert(slices.Clone(instances), at, reg)
	}
	v.put(key, instances)
	if v.changed.IsZero() {
		v.changed = received
	}
}

// replace brings in the instances of a service as they were at index.
func (v *view) replace(key Key, regs []nomad.Registration, index uint64) {
	v.known[key] = index
	instances := make([]*Instance, len(regs))
	for i := range regs {
		instances[i] = &regs[i]
	}
	slices.SortFunc(instances, func(a, b *Instance) int { return strings.Compare(a.ID, b.ID) })
	if old := v.services[key]; old != nil && slices.EqualFunc(old.Instances, instances, same) {
		return
	}
	ours := slices.ContainsFunc(instances, func(i *Instance) bool { return carries(i.Tags, v.prefix) })
	if v.services[key] == nil && !ours {
		return
	}
	v.put(key, instances)
}

// put makes instances the service; none take it away.
func (v *view) put(key Key, instances []*Instance) {
	v.dirty = true
	if len(instances) == 0 {
		delete(v.services, key)
		return
	}
	v.services[key] = &Service{Key: key, Instances: instances}
}

// settle ends a reading: of the namespaces that it confirmed, what is not listed
// at index, and not known by anything newer, is gone. A full one makes index the
// measure of all that is not known by itself.
func (v *view) settle(index uint64, confirmed map[string]bool, listed map[Key]bool, full bool) {
	for key := range v.services {
		if confirmed[key.Namespace] && !listed[key] && v.known[key] <= index {
			v.put(key, nil)
			v.known[key] = index // older events would bring it back
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

// tags are those of all instances, each once.
func (s *Service) tags() []string {
	var all []string
	for _, i := range s.Instances {
		all = append(all, i.Tags...)
	}
	return sortedSet(all)
}

// same reports whether two registrations say the same, whenever they were
// made.
func same(a, b *Instance) bool {
	return a.ID == b.ID && a.Address == b.Address && a.Port == b.Port && a.AllocID == b.AllocID &&
		a.NodeID == b.NodeID && a.Datacenter == b.Datacenter && a.JobID == b.JobID &&
		a.CreateIndex == b.CreateIndex && slices.Equal(a.Tags, b.Tags)
}

// carries reports whether a tag begins with our prefix, or nearly so: see
// NearPrefix.
func carries(tags []string, prefix string) bool {
	for _, t := range tags {
		if rest, ok := strings.CutPrefix(t, prefix); ok && (rest == "" || rest[0] == '.' || rest[0] == '=') || NearPrefix(t, prefix) {
			return true
		}
	}
	return false
}

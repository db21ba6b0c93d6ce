package discovery

import (
	"cmp"
	"slices"

	"serai/nomad"
)

// recent are the events since a scan began: what it reads may be older. Of each registration
// the newest event is kept, and of one that has ended not its tags. Together they take no more
// than the Store's bounds: of a namespace with more, none is kept, and it is to be read again.
type recent struct {
	room   *Store // what is taken, with bounds of its own
	events map[Key]map[string]*nomad.Event
	lost   map[string]bool // namespaces to be read again
}

func newRecent(bounds *Store) *recent {
	return &recent{room: bounds.rows(), events: make(map[Key]map[string]*nomad.Event), lost: make(map[string]bool)}
}

func (r *recent) add(e *nomad.Event) {
	if r.lost[e.Registration.Namespace] {
		return
	}
	kept := *e
	if kept.Deleted {
		kept.Registration.Tags = nil
	}
	key := Key{kept.Registration.Namespace, kept.Registration.ServiceName}
	of := r.events[key]
	if of == nil {
		of = make(map[string]*nomad.Event)
		r.events[key] = of
	}
	if old := of[kept.Registration.ID]; old != nil {
		r.room.give(key.Namespace, sizeOfEvent(old))
		delete(of, kept.Registration.ID)
	}
	if _, ok := r.room.take(key.Namespace, sizeOfEvent(&kept)); !ok {
		r.lose(key.Namespace)
		return
	}
	of[kept.Registration.ID] = &kept
}

// lose drops what is kept of a namespace.
func (r *recent) lose(namespace string) {
	r.lost[namespace] = true
	for key, of := range r.events {
		if key.Namespace != namespace {
			continue
		}
		for _, e := range of {
			r.room.give(namespace, sizeOfEvent(e))
		}
		delete(r.events, key)
	}
}

// of returns the events of a service, the oldest first.
func (r *recent) of(key Key) (all []*nomad.Event) {
	for _, e := range r.events[key] {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *nomad.Event) int { return cmp.Compare(a.Index, b.Index) })
	return all
}

// sizeOfEvent does not count how many there are: only their bytes are bounded.
func sizeOfEvent(e *nomad.Event) size {
	return size{0, sizeOf(fromNomad(&e.Registration))[volume]}
}

package history

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// The number of events that a Ring keeps.
const (
	DefaultSize = 1000
	MaxSize     = 10000
)

// again is how soon a decision must be repeated to be counted instead of kept once more.
const again = time.Minute

// Ring keeps the last events. All methods may be called concurrently; none waits for
// anything but another one, which takes microseconds.
//
// When it is full, the namespace with the most events forgets one, and in that namespace the
// service with the most: the oldest one. So who changes often loses only what is its own.
// What is of no namespace, such as the sources, the config file and most of certificates, is
// as one namespace.
type Ring struct {
	size int
	now  func() time.Time // for tests

	mu     sync.Mutex
	events []*Event // in the order of their IDs
	last   int64    // the highest ID
	// latest is the last event of each kind about a subject.
	latest map[identity]*Event
	// held counts the events of each namespace, and of each service.
	held      map[string]int
	heldBy    map[party]int
	counts    map[Kind]uint64
	forgotten uint64
	changed   chan struct{} // closed with the next event
}

// identity is what a repetition has in common with the first one.
type identity struct {
	kind Kind
	Subject
	message string
}

type party struct{ namespace, service string }

func (e *Event) identity() identity { return identity{e.Kind, e.Subject, e.Message} }
func (e *Event) party() party       { return party{e.Namespace, e.Service} }

// NewRing makes a Ring of size events, at most MaxSize; 0 means DefaultSize.
func NewRing(size int) *Ring {
	return &Ring{
		size: min(cmp.Or(size, DefaultSize), MaxSize), now: time.Now, latest: make(map[identity]*Event),
		held: make(map[string]int), heldBy: make(map[party]int), counts: make(map[Kind]uint64), changed: make(chan struct{}),
	}
}

// add keeps an event, which the ring owns from now on.
func (r *Ring) add(e *Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.now().UnixMicro(), r.last+1)
	e.ID, e.FirstID, e.First = r.last, r.last, e.Time
	r.counts[e.Kind]++
	key := e.identity()
	if old := r.latest[key]; old != nil && e.Time.Sub(old.Time) < again {
		e.FirstID, e.First, e.Times = old.FirstID, old.First, old.Times+1
		r.drop(old)
	}
	r.events = append(r.events, e)
	r.latest[key] = e
	r.held[e.Namespace]++
	r.heldBy[e.party()]++
	if len(r.events) > r.size { // it counts among those of its namespace
		r.drop(r.victim())
		r.forgotten++
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// victim is the event to forget.
func (r *Ring) victim() *Event {
	most := 0
	for _, n := range r.held {
		most = max(most, n)
	}
	first := r.events[slices.IndexFunc(r.events, func(e *Event) bool { return r.held[e.Namespace] == most })]
	most = 0
	for p, n := range r.heldBy {
		if p.namespace == first.Namespace {
			most = max(most, n)
		}
	}
	return r.events[slices.IndexFunc(r.events, func(e *Event) bool {
		return e.Namespace == first.Namespace && r.heldBy[e.party()] == most
	})]
}

func (r *Ring) drop(e *Event) {
	at, _ := slices.BinarySearchFunc(r.events, e.ID, func(e *Event, id int64) int { return cmp.Compare(e.ID, id) })
	r.events = slices.Delete(r.events, at, at+1)
	if key := e.identity(); r.latest[key] == e {
		delete(r.latest, key)
	}
	if r.held[e.Namespace]--; r.held[e.Namespace] == 0 {
		delete(r.held, e.Namespace)
	}
	if r.heldBy[e.party()]--; r.heldBy[e.party()] == 0 {
		delete(r.heldBy, e.party())
	}
}

// Since returns the events with an ID higher than id, the oldest first, and a channel that
// is closed with the next one.
func (r *Ring) Since(id int64) (events []*Event, next <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, found := slices.BinarySearchFunc(r.events, id, func(e *Event, id int64) int { return cmp.Compare(e.ID, id) })
	if found {
		at++
	}
	return slices.Clone(r.events[at:]), r.changed
}

// Status counts the decisions so far.
type Status struct {
	Kept, Size int
	// Forgotten counts those that were kept and had to make room.
	Forgotten uint64
	// Counts has every kind.
	Counts map[Kind]uint64
}

// Status returns the counts.
func (r *Ring) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{Kept: len(r.events), Size: r.size, Forgotten: r.forgotten, Counts: make(map[Kind]uint64)}
	for _, k := range Kinds() {
		s.Counts[k] = r.counts[k]
	}
	return s
}

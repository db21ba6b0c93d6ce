package discovery

import (
	"sync"

	"serai/internal/quota"
)

// Bound is a limit of one namespace, and of all together. Zero means no limit.
type Bound struct{ Namespace, Total int }

const noBound = 1 << 62

func (b Bound) orNone() Bound {
	if b.Namespace == 0 {
		b.Namespace = noBound
	}
	if b.Total == 0 {
		b.Total = noBound
	}
	return b
}

// Bounds are how much is kept of what is registered. A table's quotas are asked only
// about what is kept.
type Bounds struct{ Registrations, Bytes Bound }

// Store counts what the Watchers of one serai keep of registrations. Its methods may be
// called at the same time.
type Store struct {
	bounds [measures]Bound

	mu         sync.Mutex
	namespaces map[string]size
	all        size
}

// NewStore makes a Store.
func NewStore(b Bounds) *Store {
	return &Store{bounds: [measures]Bound{b.Registrations.orNone(), b.Bytes.orNone()}, namespaces: make(map[string]size)}
}

// The measures of a registration.
const (
	number = iota
	volume
	measures
)

// quotaWords are the measures as flags and rejections write them.
var quotaWords = [measures]string{"registrations", "registration-bytes"}

type size [measures]int

func (s *size) add(o size, sign int) {
	for i, n := range o {
		s[i] += sign * n
	}
}

// What a registration takes beside its texts, in bytes, and each of its tags beside its
// own.
const (
	instanceBytes = 400
	sidecarBytes  = 100
	tagBytes      = 16
)

func sizeOf(i *Instance) size {
	n := instanceBytes + len(i.ID) + len(i.Namespace) + len(i.Service) + len(i.Job) + len(i.Alloc) + len(i.Node) + len(i.Datacenter) + len(i.Address) + len(i.Unfit)
	if c := i.Sidecar; c != nil {
		n += sidecarBytes + len(c.ID) + len(c.Address) + len(c.Service) + len(c.Datacenter) + len(c.Unfit)
	}
	for _, t := range i.Tags {
		n += tagBytes + len(t)
	}
	return size{1, n}
}

// excess is a limit that something is beyond.
type excess struct {
	measure int
	total   bool // not of the namespace
}

// take counts a registration in, or says which limit it is beyond.
func (s *Store) take(namespace string, n size) (over excess, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	has := s.namespaces[namespace]
	for m := range measures {
		b := s.bounds[m]
		if has[m]+n[m] > b.Namespace {
			return excess{m, false}, false
		}
		if n[m] > quota.Open(b.Total, quota.Spare(b.Total, b.Namespace), s.all[m], has[m]) {
			return excess{m, true}, false
		}
	}
	has.add(n, 1)
	s.namespaces[namespace] = has
	s.all.add(n, 1)
	return excess{}, true
}

// rows returns an empty Store with the same bounds, for what one list keeps of its rows. A
// namespace that has more rows than it takes has far more registrations than are kept.
func (s *Store) rows() *Store {
	return &Store{bounds: s.bounds, namespaces: make(map[string]size)}
}

// give counts a registration out.
func (s *Store) give(namespace string, n size) {
	s.mu.Lock()
	defer s.mu.Unlock()
	has := s.namespaces[namespace]
	has.add(n, -1)
	if s.namespaces[namespace] = has; has == (size{}) {
		delete(s.namespaces, namespace)
	}
	s.all.add(n, -1)
}

// limit is the limit that something is beyond.
func (s *Store) limit(x excess) int {
	if x.total {
		return s.bounds[x.measure].Total
	}
	return s.bounds[x.measure].Namespace
}

// StoreStatus is how full a Store is, of registrations or of their bytes.
type StoreStatus struct {
	// Quota is "registrations" or "registration-bytes".
	Quota   string
	Used    int
	Fullest float64 // the largest part of its limit that a namespace has
	Limits  Bound   // zero for none
}

// Status returns how full the store is.
func (s *Store) Status() (all []StoreStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range measures {
		b := s.bounds[m]
		one := StoreStatus{Quota: quotaWords[m], Used: s.all[m]}
		for _, n := range s.namespaces {
			one.Fullest = max(one.Fullest, float64(n[m])/float64(b.Namespace))
		}
		if b.Namespace < noBound {
			one.Limits.Namespace = b.Namespace
		}
		if b.Total < noBound {
			one.Limits.Total = b.Total
		}
		all = append(all, one)
	}
	return all
}

// bounded reports whether anything can be refused.
func (s *Store) bounded() bool {
	for _, b := range s.bounds {
		if b.Namespace < noBound || b.Total < noBound {
			return true
		}
	}
	return false
}

// number is how many registrations of a namespace are kept.
func (s *Store) number(namespace string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.namespaces[namespace][number]
}

// largest is the namespace that has most of a measure.
func (s *Store) largest(measure int) (name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := -1
	for namespace, n := range s.namespaces {
		if n[measure] > most || n[measure] == most && namespace < name {
			most, name = n[measure], namespace
		}
	}
	return name
}

package discovery

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
)

// Refused is what is not kept of a service's registrations, because of a limit of the
// Store, or because they cannot be read.
type Refused struct {
	Instances int
	Job       string
	Allocs    []string // of the first few
	// Quota is the limit, such as registrations-namespace, and Limit how much it is. For
	// one of registration-bytes-service it is not known how many there are.
	Quota string
	Limit int
	// Cause is why the service cannot be read, empty where a limit is the cause. How many
	// instances there are is not known either. Unaskable says that no request can ask for
	// a service of that name.
	Cause     string
	Unaskable bool
}

const (
	// maxRefusedAllocs bounds the allocations of a Refused, maxHollow the services that
	// are kept only to say that nothing of them is.
	maxRefusedAllocs = 8
	maxHollow        = 256
)

// add notes one more registration that is not kept.
func (r *Refused) add(i *Instance, x excess, limit int) {
	r.Instances++
	r.Job = cmp.Or(r.Job, i.Job)
	r.Quota, r.Limit = fmt.Sprintf("%s-%s", quotaWords[x.measure], map[bool]string{false: "namespace", true: "total"}[x.total]), limit
	if i.Alloc != "" && len(r.Allocs) < maxRefusedAllocs && !slices.Contains(r.Allocs, i.Alloc) {
		r.Allocs = append(r.Allocs, i.Alloc)
	}
}

// more returns a copy of r, which may be nil, with one more.
func (r *Refused) more(i *Instance, x excess, limit int) *Refused {
	next := &Refused{}
	if r != nil {
		*next = *r
		next.Allocs = slices.Clone(r.Allocs)
	}
	next.add(i, x, limit)
	return next
}

// put sets the instances of a service, of which those that have no room in the store are
// refused: the newest of all, and of those of the same age the largest. None removes the
// service. Before says what has been refused of it that is not among the instances.
func (v *view) put(key Key, instances []*Instance, before *Refused) {
	v.dirty = true
	old := v.services[key]
	fresh := v.release(old, instances)
	if len(instances) == 0 && before == nil {
		delete(v.services, key)
		return
	}
	next := &Service{Key: key, Refused: before}
	v.services[key] = next
	if len(fresh) < len(instances) {
		next.Instances = slices.DeleteFunc(slices.Clone(instances), func(i *Instance) bool { return slices.Contains(fresh, i) })
	}
	slices.SortFunc(fresh, func(a, b *Instance) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(sizeOf(a)[volume], sizeOf(b)[volume]), byID(a, b))
	})
	for _, i := range fresh {
		x, ok := v.take(i)
		switch s := v.services[key]; { // newer ones of its own may have made room
		case s == nil:
			next = &Service{Key: key, Refused: next.Refused}
			v.services[key] = next
		default:
			next = s
		}
		if !ok {
			next.Refused = next.Refused.more(i, x, v.store.limit(x))
			continue
		}
		at, _ := slices.BinarySearchFunc(next.Instances, i, byID)
		next.Instances = slices.Insert(next.Instances, at, i)
		v.remember(key, i)
	}
	v.bury(key, next)
}

// refuse notes why the registrations of a service have not been read: they are more than
// is read at once, or cannot be read. What is known of it stays.
func (v *view) refuse(key Key, why *Refused) {
	next := &Service{Key: key, Refused: why}
	if old := v.services[key]; old != nil {
		if old.Refused != nil && old.Refused.Quota == why.Quota && old.Refused.Cause == why.Cause {
			return
		}
		next.Instances = old.Instances
	}
	v.services[key], v.dirty = next, true
	v.bury(key, next)
}

// unreadQuota is the limit of what is read of one service at once.
const unreadQuota = "registration-bytes-service"

// bury forgets a service of which nothing is kept, when there are many of these.
func (v *view) bury(key Key, s *Service) {
	if len(s.Instances) > 0 {
		delete(v.hollow, key)
		return
	}
	if v.hollow[key] = true; len(v.hollow) > maxHollow {
		delete(v.hollow, key)
		delete(v.services, key)
		delete(v.known, key)
		v.buried = true
	}
}

// release counts out what an old service has that is not among instances, and returns
// which of these it has not.
func (v *view) release(old *Service, instances []*Instance) (fresh []*Instance) {
	if old == nil {
		return slices.Clone(instances)
	}
	delete(v.hollow, old.Key)
	has := old.Instances
	for _, i := range instances {
		for len(has) > 0 && has[0].ID < i.ID {
			v.give(has[0])
			has = has[1:]
		}
		switch {
		case len(has) > 0 && has[0] == i:
			has = has[1:]
		default:
			fresh = append(fresh, i)
		}
	}
	for _, i := range has {
		v.give(i)
	}
	return fresh
}

func (v *view) give(i *Instance) {
	v.store.give(i.Namespace, sizeOf(i))
	v.freed = true
}

// take counts an instance in. Where there is no room, newer ones give theirs: of its
// namespace, or of the namespace with most where the limit is that of all.
func (v *view) take(i *Instance) (excess, bool) {
	n := sizeOf(i)
	for {
		x, ok := v.store.take(i.Namespace, n)
		if ok {
			return x, true
		}
		from := i.Namespace
		if x.total {
			from = v.store.largest(x.measure)
		}
		if !v.evict(from, i.Created, x) {
			return x, false
		}
	}
}

// evict refuses the newest instance of a namespace, if it is newer than created.
func (v *view) evict(namespace string, created uint64, x excess) bool {
	all := v.newest[namespace]
	for all != nil && len(*all) > 0 && (*all)[0].Created > created {
		newest := heap.Pop(all).(*Instance)
		s := v.services[newest.Key()]
		if s == nil {
			continue
		}
		at, found := slices.BinarySearchFunc(s.Instances, newest, byID)
		if !found || s.Instances[at] != newest {
			continue // it has gone meanwhile
		}
		v.store.give(namespace, sizeOf(newest))
		next := &Service{Key: s.Key, Instances: slices.Delete(slices.Clone(s.Instances), at, at+1), Refused: s.Refused.more(newest, x, v.store.limit(x))}
		v.services[s.Key] = next
		v.bury(s.Key, next)
		return true
	}
	return false
}

// remember notes an instance as one that may have to make room for older ones.
func (v *view) remember(key Key, i *Instance) {
	if !v.store.bounded() {
		return
	}
	all := v.newest[key.Namespace]
	if all == nil {
		all = &byAge{}
		v.newest[key.Namespace] = all
	}
	heap.Push(all, i)
	if most := 2*v.store.number(key.Namespace) + 1024; len(*all) > most {
		*all = (*all)[:0]
		for _, s := range v.services {
			if s.Namespace == key.Namespace {
				*all = append(*all, s.Instances...)
			}
		}
		heap.Init(all)
	}
}

// lacks reports whether something was refused, and something has been given back since
// the last time that it was asked.
func (v *view) lacks() bool {
	if !v.freed {
		return false
	}
	v.freed = false
	return v.buried || len(v.hollow) > 0 || v.incomplete()
}

// incomplete reports whether a part of a service is refused.
func (v *view) incomplete() bool {
	for _, s := range v.services {
		if s.Refused != nil {
			return true
		}
	}
	return false
}

// byAge is a heap of instances, the newest first.
type byAge []*Instance

func (h byAge) Len() int           { return len(h) }
func (h byAge) Less(i, j int) bool { return h[i].Created > h[j].Created }
func (h byAge) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byAge) Push(x any)        { *h = append(*h, x.(*Instance)) }
func (h *byAge) Pop() any {
	last := len(*h) - 1
	i := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return i
}

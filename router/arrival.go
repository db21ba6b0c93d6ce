package router

import (
	"cmp"
	"math"
	"slices"

	"serai/discovery"
)

// changed returns the services that differ from those of the table: those with few tags
// first, then in the order in which they came.
func (b *Builder) changed(s *discovery.Snapshot) (all []arrival) {
	for key, source := range s.Services {
		if known := b.services[key]; known == nil || known.source != source {
			a := arrival{key, firstIndex(source), 0}
			for _, i := range source.Instances {
				a.tags += len(i.Tags)
			}
			if known != nil { // that each of its instances asks for
				a.tags += known.usage.got[claims] * len(source.Instances) / claimsOfTag
			}
			all = append(all, a)
		}
	}
	slices.SortFunc(all, arrival.compare)
	return all
}

// arrival is when the first instance of a service came, and how many tags it has, or
// what costs as much.
// Services are compiled in this order, so that it is not random which of them exceeds a
// quota.
type arrival struct {
	discovery.Key
	index uint64
	tags  int
}

func (a arrival) compare(o arrival) int {
	const many = maxStep / 4
	return cmp.Or(cmp.Compare(a.tags/many, o.tags/many), cmp.Compare(a.index, o.index), cmpStrings(a.Namespace, o.Namespace, a.Name, o.Name))
}

func firstIndex(s *discovery.Service) uint64 {
	first := uint64(math.MaxUint64)
	for _, i := range s.Instances {
		first = min(first, i.Created)
	}
	return first
}

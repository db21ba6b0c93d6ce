package router

import (
	"iter"
	"slices"
)

// bucket has routes in the order in which requests try them.
type bucket struct {
	live []*Route
	// shadows are claims that an older claim of the same kind holds; nil for none, which
	// takes less than an empty slice.
	shadows *[]shadow
}

// shadowed returns the claims that an older claim of the same kind holds.
func (b *bucket) shadowed() []shadow {
	if b.shadows == nil {
		return nil
	}
	return *b.shadows
}

// shadow is a route that never takes a request, and the one that does.
type shadow struct{ route, holder *Route }

// newBucket sorts routes, and owns the slice from then on. Of routes with the same
// claim, the first in order is the oldest: it holds the claim.
func newBucket(routes []*Route) bucket {
	slices.SortFunc(routes, (*Route).nearer)
	if len(routes) <= 1 {
		return bucket{live: routes}
	}
	b := bucket{live: routes[:0]}
	var shadowed []shadow
	held := make(map[claim]*Route, len(routes))
	for _, r := range routes {
		if holder := held[r.claim()]; holder != nil {
			shadowed = append(shadowed, shadow{r, holder})
			continue
		}
		held[r.claim()] = r
		b.live = append(b.live, r)
	}
	clear(routes[len(b.live):])
	if len(shadowed) > 0 {
		b.shadows = &shadowed
	}
	return b
}

func (b *bucket) all() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for _, r := range b.live {
			if !yield(r) {
				return
			}
		}
		for _, s := range b.shadowed() {
			if !yield(s.route) {
				return
			}
		}
	}
}

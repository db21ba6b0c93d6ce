package upstream

import (
	"math/rand/v2"
	"time"
)

// coldest is the least warmth, of a member that has just become ready.
const coldest = 0.1

// warmth is the part of its weight that a member has now: it grows over the registry's
// SlowStart from when the instance became ready, so that an instance that has to warm
// up does not get its full load at once.
func (m *Member) warmth(now time.Time) float64 {
	e := m.Endpoint
	over := e.registry.options.SlowStart
	age := now.Sub(e.since.Time())
	if age >= over {
		return 1
	}
	return max(coldest, float64(age)/float64(over))
}

// warmer returns an available member at random, by weight, with more warmth than that;
// nil when there is none, or none that is found soon in a large group.
func (g *group) warmer(s *search, than float64) *Member {
	for range draws {
		if m := g.members[g.at(rand.IntN(g.sum()))]; m.fit(s) && m.warmth(s.now) > than {
			return m
		}
	}
	const few = 16
	if len(g.members) <= few {
		if i := g.seek(s, than); i >= 0 {
			return g.members[i]
		}
	}
	return nil
}

// warm returns m, or, the colder m is the more often, a warmer member instead, a near
// one if there is one. Members that became ready together take turns as if they were
// warm.
func (g *group) warm(s *search, m *Member) *Member {
	if m == nil || g.constant || len(g.members) == 1 {
		return m
	}
	share := m.warmth(s.now)
	if share == 1 || rand.Float64() < share {
		return m
	}
	if g.near != nil && !g.crowded() {
		if other := g.near.warmer(s, share*together); other != nil {
			return other
		}
	}
	if other := g.warmer(s, share*together); other != nil {
		return other
	}
	return m
}

// together is the largest ratio of warmth between members that became ready together.
const together = 1.1

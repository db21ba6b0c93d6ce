package upstream

import (
	"math/rand/v2"
	"sort"
)

// random draws by weight.
type random struct{}

func newRandom([]*Member, string, int) balancer { return random{} }

func (random) pick(g *group, s search) *Member { return g.draw(&s) }

// sum returns the sum of the weights.
func (g *group) sum() int { return g.weights[len(g.weights)-1] }

// at returns the index of the member that owns that unit of weight.
func (g *group) at(unit int) int {
	if g.equal {
		return unit / g.weights[0]
	}
	return sort.SearchInts(g.weights, unit+1)
}

// draws is how often members are drawn until one is fit, before those that are
// fit are sought.
const draws = 4

// draw returns a fit member at random, by weight; nil when there is none.
func (g *group) draw(s *search) *Member {
	if i := g.drawIndex(s); i >= 0 {
		return g.members[i]
	}
	return nil
}

// drawIndex is draw for who must know the member's index, -1 for none.
func (g *group) drawIndex(s *search) int {
	for range draws {
		if i := g.at(rand.IntN(g.sum())); g.members[i].fit(s) {
			return i
		}
	}
	return g.seek(s, 0)
}

// another returns a fit member other than that of index i at random, by weight;
// nil when it finds none soon.
func (g *group) another(s *search, i int) *Member {
	weight := g.members[i].Weight
	before := g.weights[i] - weight
	for range draws {
		unit := rand.IntN(g.sum() - weight)
		if unit >= before {
			unit += weight
		}
		if b := g.members[g.at(unit)]; b.fit(s) {
			return b
		}
	}
	return nil
}

// seek looks at every member and draws among those that are fit and warmer than
// that. It returns the index, -1 for none.
func (g *group) seek(s *search, warmer float64) int {
	sum, found := 0, -1
	for i, m := range g.members {
		if !m.fit(s) || warmer > 0 && m.warmth(s.now) <= warmer {
			continue
		}
		// Each one takes the place of those before it with the chance of its share.
		if sum += m.Weight; rand.IntN(sum) < m.Weight {
			found = i
		}
	}
	return found
}

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
func (g *group) sum() int { return g.sumTo(len(g.members) - 1) }

// sumTo returns the sum of the weights of members 0 to i.
func (g *group) sumTo(i int) int {
	if g.equal {
		return (i + 1) * g.members[0].Weight
	}
	return g.weights[i]
}

// at returns the index of the member to which that unit of weight belongs.
func (g *group) at(unit int) int {
	if g.equal {
		return unit / g.members[0].Weight
	}
	return sort.SearchInts(g.weights, unit+1)
}

// draws is how often a member is drawn until one is available; after that all are
// searched.
const draws = 4

// draw returns an available member at random, by weight; nil when there is none.
func (g *group) draw(s *search) *Member {
	if i := g.drawIndex(s); i >= 0 {
		return g.members[i]
	}
	return nil
}

// drawIndex is draw, but returns the member's index, -1 for none.
func (g *group) drawIndex(s *search) int {
	for range draws {
		if i := g.at(rand.IntN(g.sum())); g.members[i].fit(s) {
			return i
		}
	}
	return g.seek(s, 0)
}

// another returns an available member other than index i at random, by weight; nil when
// it finds none soon.
func (g *group) another(s *search, i int) *Member {
	weight := g.members[i].Weight
	before := g.sumTo(i) - weight
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

// seek goes through all members and draws among those that are available and warmer
// than warmer. It returns the index, -1 for none.
func (g *group) seek(s *search, warmer float64) int {
	sum, found := 0, -1
	for i, m := range g.members {
		if !m.fit(s) || warmer > 0 && m.warmth(s.now) <= warmer {
			continue
		}
		// Each one replaces the one chosen before with the probability of its share.
		if sum += m.Weight; rand.IntN(sum) < m.Weight {
			found = i
		}
	}
	return found
}

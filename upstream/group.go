package upstream

import (
	"math"
	"math/rand/v2"
	"sort"
)

// group is members among which the balance method alone decides. Never
// modified once built.
type group struct {
	balance Balance
	members []*Member
	// weights[i] is the sum of the weights up to and with member i.
	weights []int
	equal   bool     // all weights are the same
	order   []uint16 // one round of round-robin, nil when weights are equal
	turn    int      // of round-robin: the room's counter of that number
	near    *group   // those that are preferred, nil when there are none
}

// turnCounters is how many a Room keeps for its pools: for the stable members and
// for the canaries, and of each for the near ones. With one for two, members
// would be left out whenever requests for both alternate.
const turnCounters = 4

// newGroup makes a group and the one of its near members, each with a counter of
// turns, from the given one on.
func newGroup(members []*Member, o *PoolOptions, turn int) group {
	g := group{balance: o.Balance, members: members, equal: true, turn: turn}
	sum, divisor := 0, 0
	var near []*Member
	for _, m := range members {
		sum += m.Weight
		divisor = gcd(divisor, m.Weight)
		g.weights = append(g.weights, sum)
		g.equal = g.equal && m.Weight == members[0].Weight
		if o.Prefer == PreferNode && m.Node == o.Node && o.Node != "" ||
			o.Prefer == PreferDatacenter && m.Datacenter == o.Datacenter && o.Datacenter != "" {
			near = append(near, m)
		}
	}
	if o.Balance.Method == RoundRobin && !g.equal && sum/divisor <= longestRound {
		g.order = smoothOrder(members, divisor)
	}
	if len(near) > 0 {
		closer := newGroup(near, &PoolOptions{Balance: o.Balance}, turn+1)
		g.near = &closer
	}
	return g
}

// choose returns a fit member, or nil: a near one as long as they are not
// crowded, otherwise any.
func (g *group) choose(s *search) *Member {
	if g.near != nil && !g.crowded() {
		if m := g.near.pick(s); m != nil {
			return g.warm(s, m)
		}
	}
	return g.warm(s, g.pick(s))
}

// crowded reports whether the near members are busier than the whole group is on
// average: then requests go farther.
func (g *group) crowded() bool {
	const grace = 8 // requests in flight that are never too many
	near, all := g.near.inflight(), g.inflight()
	return near > 2*all+grace
}

// inflight returns how many requests a member that takes requests has in flight
// on average.
func (g *group) inflight() float64 {
	sum, n := 0, 0
	for _, m := range g.members {
		if m.Endpoint.State() == Ready {
			sum += m.Endpoint.Inflight()
			n++
		}
	}
	return float64(sum) / float64(max(n, 1))
}

// anyUp reports whether some member takes requests, were there places.
func (g *group) anyUp() bool {
	for _, m := range g.members {
		if m.Endpoint.up() {
			return true
		}
	}
	return false
}

// pick returns the fit member that the method chooses, or nil.
func (g *group) pick(s *search) *Member {
	switch len(g.members) {
	case 0:
		return nil
	case 1:
		if m := g.members[0]; m.fit(s) {
			return m
		}
		return nil
	}
	switch g.balance.Method {
	case RoundRobin:
		return g.inTurn(s)
	case Random:
		return g.draw(s)
	case HashIP:
		return g.rendezvous(s, s.a.ClientIP())
	case HashHeader:
		return g.rendezvous(s, s.a.Header(g.balance.Name))
	case HashCookie:
		return g.rendezvous(s, s.a.Cookie(g.balance.Name))
	}
	return g.least(s)
}

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

// warmer returns a fit member at random, by weight, among those that are warmer
// than that; nil when there is none, or none that is found soon in a large group.
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

// warm returns m, or a warmer member in its place as often as m is cold, a near
// one if there is one. Those that became ready together take turns as if they
// were warm.
func (g *group) warm(s *search, m *Member) *Member {
	switch g.balance.Method {
	case HashIP, HashHeader, HashCookie:
		return m
	}
	if m == nil || len(g.members) == 1 {
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

// together is by how much those differ in warmth that became ready together.
const together = 1.1

// rendezvous returns the fit member with the highest score for key, so that a
// member that comes or goes moves only its own share of the keys. Without a
// key it draws.
func (g *group) rendezvous(s *search, key []byte) *Member {
	if len(key) == 0 {
		return g.draw(s)
	}
	h := hashBytes(key)
	var best *Member
	highest := math.Inf(-1)
	for _, m := range g.members {
		if !m.fit(s) {
			continue
		}
		// A uniform number in (0,1) to the power of 1/weight, compared by its
		// logarithm.
		u := (float64(mix(h^m.Endpoint.hash)>>11) + 0.5) / (1 << 53)
		if score := math.Log(u) / float64(m.Weight); score > highest {
			best, highest = m, score
		}
	}
	return best
}

// hashBytes is FNV-1a, the same on every serai.
func hashBytes(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}

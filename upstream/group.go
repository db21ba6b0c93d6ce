package upstream

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync/atomic"
)

// group is members among which the balance method alone decides. Never
// modified once built.
type group struct {
	balance Balance
	members []*Member
	// weights[i] is the sum of the weights up to and with member i.
	weights []int
	equal   bool           // all weights are the same
	order   []uint16       // one round of round-robin, nil when weights are equal
	turn    *atomic.Uint64 // of round-robin
	near    *group         // those that are preferred, nil when there are none
}

// longestRound bounds the length of a round of weighted round-robin.
const longestRound = 4096

// turnCounters is how many a Room keeps for its pools: for the stable members and
// for the canaries, and of each for the near ones. With one for two, members
// would be left out whenever requests for both alternate.
const turnCounters = 4

// newGroup makes a group and the one of its near members, each with a counter of
// turns.
func newGroup(members []*Member, o *PoolOptions, turns []atomic.Uint64) group {
	g := group{balance: o.Balance, members: members, equal: true, turn: &turns[0]}
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
		closer := newGroup(near, &PoolOptions{Balance: o.Balance}, turns[1:])
		g.near = &closer
	}
	return g
}

// smoothOrder spreads each member evenly over a round (nginx's smooth weighted
// round-robin).
func smoothOrder(members []*Member, divisor int) []uint16 {
	total := 0
	for _, m := range members {
		total += m.Weight / divisor
	}
	order := make([]uint16, total)
	current := make([]int, len(members))
	for turn := range order {
		best := 0
		for i, m := range members {
			if current[i] += m.Weight / divisor; current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order[turn] = uint16(best)
	}
	return order
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
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
	if len(g.members) == 1 {
		if m := g.members[0]; m.fit(s) {
			return m
		}
		return nil
	}
	switch g.balance.Method {
	case RoundRobin:
		return g.inTurn(s)
	case Random:
		return g.draw(s, 0)
	case HashIP:
		return g.rendezvous(s, s.a.ClientIP())
	case HashHeader:
		return g.rendezvous(s, s.a.Header(g.balance.Name))
	case HashCookie:
		return g.rendezvous(s, s.a.Cookie(g.balance.Name))
	}
	return g.least(s)
}

// inTurn returns the next fit member in the order of the round. The turn of one
// that is not fit is nobody's, or the one behind it would have twice its share.
func (g *group) inTurn(s *search) *Member {
	for range g.members {
		turn := g.turn.Add(1) - 1
		i := 0
		switch {
		case g.equal:
			i = int(turn % uint64(len(g.members)))
		case g.order != nil:
			i = int(g.order[turn%uint64(len(g.order))])
		default:
			// Weights without a short round: the golden ratio spreads turns evenly.
			const golden = 0x9e3779b97f4a7c15
			i = g.at(int((turn * golden >> 32) * uint64(g.sum()) >> 32))
		}
		if m := g.members[i]; m.fit(s) {
			return m
		}
	}
	return g.draw(s, 0)
}

// sum returns the sum of the weights.
func (g *group) sum() int { return g.weights[len(g.weights)-1] }

// at returns the index of the member that owns that unit of weight.
func (g *group) at(unit int) int {
	return sort.SearchInts(g.weights, unit+1)
}

// draw returns a fit member at random, by weight, of those that are warmer than
// that; nil when there is none.
func (g *group) draw(s *search, warmer float64) *Member {
	if len(g.members) == 0 {
		return nil
	}
	suits := func(m *Member) bool { return m.fit(s) && (warmer == 0 || m.warmth(s.now) > warmer) }
	const draws = 4
	for range draws {
		if m := g.members[g.at(rand.IntN(g.sum()))]; suits(m) {
			return m
		}
	}
	// Most are not fit, or what is left weighs little: draw among those that are.
	sum := 0
	for _, m := range g.members {
		if suits(m) {
			sum += m.Weight
		}
	}
	if sum == 0 {
		return nil
	}
	unit := rand.IntN(sum)
	var last *Member
	for _, m := range g.members {
		if suits(m) {
			if last = m; unit < m.Weight {
				break
			}
			unit -= m.Weight
		}
	}
	return last
}

// another returns a fit member other than a at random, by weight; nil when it
// finds none soon.
func (g *group) another(s *search, a *Member) *Member {
	i := slices.Index(g.members, a)
	before := g.weights[i] - a.Weight
	const draws = 3
	for range draws {
		unit := rand.IntN(g.sum() - a.Weight)
		if unit >= before {
			unit += a.Weight
		}
		if b := g.members[g.at(unit)]; b.fit(s) {
			return b
		}
	}
	return nil
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
		if other := g.near.draw(s, share*together); other != nil {
			return other
		}
	}
	if other := g.draw(s, share*together); other != nil {
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
		return g.draw(s, 0)
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

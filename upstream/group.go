package upstream

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// group is members among which the balance method alone decides. Never
// modified once built.
type group struct {
	members []*Member
	// weights[i] is the sum of the weights up to and with member i.
	weights []int
	equal   bool     // all weights are the same
	order   []uint16 // one round of round-robin, nil when weights are equal
	near    []*Member
}

// longestRound bounds the length of a round of weighted round-robin.
const longestRound = 4096

func newGroup(members []*Member, o *PoolOptions) group {
	g := group{members: members, equal: true}
	sum, divisor := 0, 0
	for _, m := range members {
		sum += m.Weight
		divisor = gcd(divisor, m.Weight)
		g.weights = append(g.weights, sum)
		g.equal = g.equal && m.Weight == members[0].Weight
		if o.Prefer == PreferNode && m.Node == o.Node && o.Node != "" ||
			o.Prefer == PreferDatacenter && m.Datacenter == o.Datacenter && o.Datacenter != "" {
			g.near = append(g.near, m)
		}
	}
	if o.Balance.Method == RoundRobin && !g.equal && sum/divisor <= longestRound {
		g.order = smoothOrder(members, divisor)
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

// choose returns a fit member that has not been tried, or nil.
func (g *group) choose(now time.Time, a Attributes, tried *Tried, p *Pool) *Member {
	if m := g.chooseNear(now, tried); m != nil {
		return m
	}
	n := len(g.members)
	switch {
	case n == 0:
		return nil
	case n == 1:
		if m := g.members[0]; m.fit(tried) {
			return m
		}
		return nil
	}
	switch b := &p.options.Balance; b.Method {
	case RoundRobin:
		return g.warm(now, g.inTurn(p.room.turn.Add(1)-1, tried), tried)
	case Random:
		return g.warm(now, g.firstFit(g.draw(), tried), tried)
	case HashIP:
		return g.rendezvous(a.ClientIP(), tried)
	case HashHeader:
		return g.rendezvous(a.Header(b.Name), tried)
	case HashCookie:
		return g.rendezvous(a.Cookie(b.Name), tried)
	}
	return g.warm(now, g.least(now, tried), tried)
}

// chooseNear returns the better of two near members, unless it is busier than
// the whole group is on average: then the request goes farther.
func (g *group) chooseNear(now time.Time, tried *Tried) *Member {
	if len(g.near) == 0 {
		return nil
	}
	near := group{members: g.near, equal: true}
	m := near.least(now, tried)
	if m == nil {
		return nil
	}
	inflight := 0
	for _, other := range g.members {
		inflight += other.Endpoint.Inflight()
	}
	const grace = 8 // requests in flight that are never too many
	if m.Endpoint.Inflight() > 2*inflight/len(g.members)+grace {
		return nil
	}
	return m
}

// inTurn returns the next fit member in the order of the round.
func (g *group) inTurn(turn uint64, tried *Tried) *Member {
	n := uint64(len(g.members))
	switch {
	case g.equal:
		return g.firstFit(int(turn%n), tried)
	case g.order != nil:
		return g.firstFit(int(g.order[turn%uint64(len(g.order))]), tried)
	}
	// Weights without a short round: the golden ratio spreads turns evenly.
	const golden = 0x9e3779b97f4a7c15
	sum := uint64(g.weights[len(g.weights)-1])
	return g.firstFit(g.at(int((turn*golden>>32)*sum>>32)), tried)
}

// draw returns the index of a member at random, by weight.
func (g *group) draw() int {
	if g.equal {
		return rand.IntN(len(g.members))
	}
	return g.at(rand.IntN(g.weights[len(g.weights)-1]))
}

// at returns the index of the member that owns that unit of weight.
func (g *group) at(unit int) int {
	return sort.SearchInts(g.weights, unit+1)
}

// firstFit returns the first fit member from index i on.
func (g *group) firstFit(i int, tried *Tried) *Member {
	for range g.members {
		if m := g.members[i]; m.fit(tried) {
			return m
		}
		if i++; i == len(g.members) {
			i = 0
		}
	}
	return nil
}

// least draws two members and returns the one that costs less.
func (g *group) least(now time.Time, tried *Tried) *Member {
	n := len(g.members)
	i := rand.IntN(n)
	a := g.firstFit(i, tried)
	if n == 1 || a == nil {
		return a
	}
	j := rand.IntN(n - 1)
	if j >= i {
		j++
	}
	b := g.firstFit(j, tried)
	if a == b {
		// Only one of the two is fit, or the search met: look right behind.
		return a
	}
	// An instance without history counts as fast as the other: if it counted
	// as faster it would get every request until its first answer.
	const shortest = time.Microsecond
	ofA, ofB := a.Endpoint.latency.value(now), b.Endpoint.latency.value(now)
	if ofA == 0 || ofB == 0 {
		ofA, ofB = shortest, shortest
	}
	if b.cost(max(ofB, shortest)) < a.cost(max(ofA, shortest)) {
		return b
	}
	return a
}

// cost is what one more request would cost on m: the time to the first byte
// times the requests that share it, for each unit of weight.
func (m *Member) cost(latency time.Duration) float64 {
	return float64(latency) * float64(m.Endpoint.Inflight()+1) / float64(m.Weight)
}

// warm returns m, or a warmer member in its place as often as m is cold. Those
// that became ready together take turns as if they were warm.
func (g *group) warm(now time.Time, m *Member, tried *Tried) *Member {
	if m == nil {
		return nil
	}
	share := m.warmth(now)
	if share == 1 || rand.Float64() < share {
		return m
	}
	const draws, together = 4, 1.1
	for range draws {
		if other := g.firstFit(g.draw(), tried); other.warmth(now) > share*together {
			return other
		}
	}
	return m
}

// rendezvous returns the fit member with the highest score for key, so that a
// member that comes or goes moves only its own share of the keys. Without a
// key it draws.
func (g *group) rendezvous(key []byte, tried *Tried) *Member {
	if len(key) == 0 {
		return g.firstFit(g.draw(), tried)
	}
	h := hashBytes(key)
	var best *Member
	highest := math.Inf(-1)
	for _, m := range g.members {
		if !m.fit(tried) {
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

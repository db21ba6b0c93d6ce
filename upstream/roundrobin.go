package upstream

// longestRound bounds the length of a round of weighted round-robin.
const longestRound = 4096

// roundRobin chooses the members in turn.
type roundRobin struct {
	order []uint16 // one round, nil when weights are equal or the round is too long
	turn  int      // index of the room's counter
}

func newRoundRobin(members []*Member, _ string, turn int) balancer {
	r := &roundRobin{turn: turn}
	sum, divisor, equal := 0, 0, true
	for _, m := range members {
		sum += m.Weight
		divisor = gcd(divisor, m.Weight)
		equal = equal && m.Weight == members[0].Weight
	}
	if !equal && sum/divisor <= longestRound {
		r.order = smoothOrder(members, divisor)
	}
	return r
}

// pick returns the next available member in the order of the round. The turn of an
// unavailable member goes to nobody; otherwise the next one would get twice its share.
func (r *roundRobin) pick(g *group, s search) *Member {
	for range g.members {
		turn := s.room.take(r.turn)
		i := 0
		switch {
		case g.equal:
			i = int(turn % uint64(len(g.members)))
		case r.order != nil:
			i = int(r.order[turn%uint64(len(r.order))])
		default:
			// Weights without a short round: the golden ratio spreads turns evenly.
			const golden = 0x9e3779b97f4a7c15
			i = g.at(int((turn * golden >> 32) * uint64(g.sum()) >> 32))
		}
		if m := g.members[i]; m.fit(&s) {
			return m
		}
	}
	return g.draw(&s)
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

package upstream

// group is members among which only the balance method decides. Never modified once
// built.
type group struct {
	members []*Member
	equal   bool // all weights are the same
	// weights[i] is the sum of the weights of members 0 to i, unless all are the same.
	weights  []int
	balancer balancer
	constant bool   // see MethodEntry
	near     *group // the preferred members, nil when there are none
}

// turnCounters is the number of counters that a Room keeps for its pools: for the
// stable members and for the canaries, and for the near ones of both. With a shared
// counter, members would be left out whenever requests for two groups alternate.
const turnCounters = 4

// newGroup makes a group and the group of its near members. Each has a counter of
// turns, the first one with the given index.
func newGroup(members []*Member, o *PoolOptions, turn int) group {
	g := group{members: members, equal: true}
	var near []*Member
	for _, m := range members {
		g.equal = g.equal && m.Weight == members[0].Weight
		if o.Prefer == PreferNode && m.Node != "" && (m.Node == o.Node || m.Node == o.ConsulNode) ||
			o.Prefer == PreferDatacenter && m.Datacenter == o.Datacenter && o.Datacenter != "" {
			near = append(near, m)
		}
	}
	if !g.equal {
		g.weights = make([]int, len(members))
		sum := 0
		for i, m := range members {
			sum += m.Weight
			g.weights[i] = sum
		}
	}
	method := &methods[o.Balance.Method]
	g.balancer, g.constant = method.over(members, o.Balance.Name, turn), method.Constant
	if len(near) == len(members) {
		near = members
	}
	if len(near) > 0 {
		closer := newGroup(near, &PoolOptions{Balance: o.Balance}, turn+1)
		g.near = &closer
	}
	return g
}

// choose returns a member that is ready and has a place, or nil: a near one unless
// these are crowded, otherwise any.
func (g *group) choose(s *search) *Member {
	if g.near != nil && !g.crowded() {
		if m := g.near.pick(s); m != nil {
			return g.warm(s, m)
		}
	}
	return g.warm(s, g.pick(s))
}

// crowded reports whether the near members are much busier than the whole group on
// average: then requests go to all.
func (g *group) crowded() bool {
	const grace = 8 // requests in flight that are never too many
	near, all := g.near.inflight(), g.inflight()
	return near > 2*all+grace
}

// inflight returns the average number of requests in flight on the members that take
// requests.
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

// anyUp reports whether some member takes requests, whether or not it has places.
func (g *group) anyUp() bool {
	for _, m := range g.members {
		if m.Endpoint.up() {
			return true
		}
	}
	return false
}

// pick returns the member that the method chooses, or nil.
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
	return g.balancer.pick(g, *s)
}

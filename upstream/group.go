package upstream

// group is members among which the balance method alone decides. Never
// modified once built.
type group struct {
	members []*Member
	// weights[i] is the sum of the weights up to and with member i.
	weights  []int
	equal    bool // all weights are the same
	balancer balancer
	constant bool   // see MethodEntry
	near     *group // those that are preferred, nil when there are none
}

// turnCounters is how many a Room keeps for its pools: for the stable members and
// for the canaries, and of each for the near ones. With one for two, members
// would be left out whenever requests for both alternate.
const turnCounters = 4

// newGroup makes a group and the one of its near members, each with a counter of
// turns, from the given one on.
func newGroup(members []*Member, o *PoolOptions, turn int) group {
	g := group{members: members, equal: true}
	sum := 0
	var near []*Member
	for _, m := range members {
		sum += m.Weight
		g.weights = append(g.weights, sum)
		g.equal = g.equal && m.Weight == members[0].Weight
		if o.Prefer == PreferNode && m.Node == o.Node && o.Node != "" ||
			o.Prefer == PreferDatacenter && m.Datacenter == o.Datacenter && o.Datacenter != "" {
			near = append(near, m)
		}
	}
	method := &methods[o.Balance.Method]
	g.balancer, g.constant = method.over(members, o.Balance.Name, turn), method.Constant
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
	return g.balancer.pick(g, *s)
}

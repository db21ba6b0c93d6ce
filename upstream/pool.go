package upstream

import (
	"math/rand/v2"
	"slices"
	"time"
)

// PoolOptions is what a route says about its pool.
type PoolOptions struct {
	Balance Balance
	Prefer  Prefer
	// Node and Datacenter are where this serai runs; empty when unknown.
	Node, Datacenter string
	// Sticky is the name of the cookie that names the member, empty for none.
	Sticky string
}

// Pool is the members one route balances over. Never modified once built.
type Pool struct {
	members  []Member
	options  PoolOptions
	room     *Room
	stable   group // takes every request that no canary takes
	canaries []canaries
	seats    map[string]*Member // by the sticky cookie's value, nil when the route is not sticky
}

// canaries are the members that share one canary rule.
type canaries struct {
	rule  Canary
	group group
}

// NewPool builds a pool over members, whose Endpoints the caller has acquired
// from one Registry. Requests that find no ready member wait in room, which
// outlives the pool.
func NewPool(members []Member, o PoolOptions, room *Room) *Pool {
	p := &Pool{members: members, options: o, room: room}
	p.seat()
	var stable []*Member
	byRule := make(map[Canary][]*Member)
	var rules []Canary
	for i := range members {
		m := &members[i]
		switch {
		case m.Weight <= 0:
		case m.Canary == nil:
			stable = append(stable, m)
		default:
			if byRule[*m.Canary] == nil {
				rules = append(rules, *m.Canary)
			}
			byRule[*m.Canary] = append(byRule[*m.Canary], m)
		}
	}
	p.stable = newGroup(stable, &p.options)
	// Conditions are asked before percentages are drawn.
	slices.SortStableFunc(rules, func(a, b Canary) int {
		return boolInt(a.drawn()) - boolInt(b.drawn())
	})
	for _, rule := range rules {
		p.canaries = append(p.canaries, canaries{rule, newGroup(byRule[rule], &p.options)})
	}
	return p
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// drawn reports whether the rule is a percentage.
func (c *Canary) drawn() bool { return c.Header == "" && c.Cookie == "" }

// takes reports whether the rule asks for a request.
func (c *Canary) takes(a Attributes) bool {
	switch {
	case c.Header != "":
		return string(a.Header(c.Header)) == c.Value
	case c.Cookie != "":
		return string(a.Cookie(c.Cookie)) == c.Value
	}
	return c.Percent > 0 && rand.Float64()*100 < c.Percent
}

// Members returns the members. The slice must not be modified.
func (p *Pool) Members() []Member { return p.members }

// Room returns where requests wait that find no ready member.
func (p *Pool) Room() *Room { return p.room }

// Options returns what the route says about the pool.
func (p *Pool) Options() PoolOptions { return p.options }

// Tried are the endpoints that a request has been tried on. They are chosen
// again only when there is no other.
type Tried struct {
	endpoints [4]*Endpoint
	n         int
	ejected   bool // ejected members are chosen too
}

// Add notes e. Only the last few are remembered.
func (t *Tried) Add(e *Endpoint) {
	t.endpoints[t.n%len(t.endpoints)] = e
	t.n++
}

// Has reports whether e was tried.
func (t *Tried) Has(e *Endpoint) bool {
	return t.n > 0 && slices.Contains(t.endpoints[:], e)
}

// Pick chooses the member for a request and counts the request as in flight
// there until End. It returns nil when no member may take it. An ejected member
// is better than none. One in tried is chosen only when again is set and there
// is no other.
func (p *Pool) Pick(now time.Time, a Attributes, tried *Tried, again bool) *Member {
	m := p.choose(now, a, tried)
	if m == nil {
		desperate := *tried
		desperate.ejected = true
		m = p.choose(now, a, &desperate)
	}
	if m == nil && again && tried.n > 0 {
		m = p.choose(now, a, &Tried{ejected: true})
	}
	if m != nil {
		m.Endpoint.begin()
	}
	return m
}

func (p *Pool) choose(now time.Time, a Attributes, tried *Tried) *Member {
	seated := p.seated(a, tried)
	for i := range p.canaries {
		c := &p.canaries[i]
		mine := seated != nil && seated.Canary != nil && *seated.Canary == c.rule
		switch {
		case mine && (c.rule.Percent > 0 || c.rule.takes(a)):
			return seated
		case seated != nil && seated.Canary == nil && c.rule.drawn():
			// A client that has its seat among the stable is not drawn.
		case c.rule.takes(a):
			if m := c.group.choose(now, a, tried, p); m != nil {
				return m
			}
		}
	}
	if seated != nil && seated.Canary == nil {
		return seated
	}
	return p.stable.choose(now, a, tried, p)
}

// anyFit reports whether some member may take a request now.
func (p *Pool) anyFit() bool {
	for i := range p.members {
		if m := &p.members[i]; m.Weight > 0 && m.fit(&Tried{ejected: true}) {
			return true
		}
	}
	return false
}

// fit reports whether m may take a request now.
func (m *Member) fit(tried *Tried) bool {
	e := m.Endpoint
	if s := e.State(); s != Ready && !(s == Ejected && tried.ejected) || tried.Has(e) {
		return false
	}
	if m.MaxInflight == 0 || e.Inflight() < m.MaxInflight {
		return true
	}
	// Whoever ends a request here tells those that wait. One that has ended
	// since is seen by the second look.
	e.full.Store(true)
	return e.Inflight() < m.MaxInflight
}

package upstream

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// PoolOptions are a route's options for its pool.
type PoolOptions struct {
	Balance Balance
	Prefer  Prefer
	// Node, ConsulNode and Datacenter say where this serai runs; empty when unknown. The
	// node has an ID in Nomad and a name in Consul.
	Node, ConsulNode, Datacenter string
	// Sticky is the name of the sticky cookie, empty for none.
	Sticky string
}

// Pool is the members one route balances over. Never modified once built.
type Pool struct {
	*spread
	room *Room
}

// spread is how requests are distributed over members. Routes with the same members and
// options share it; otherwise a service with many claims would need many copies. Never
// modified once built. What most requests read is at its beginning: of a route that has had
// no request for a while the processor fetches few lines of memory.
type spread struct {
	stable   group // takes every request that goes to no canary
	canaries []canaries
	drawn    bool // some canary takes a percentage
	// cookies are the values of the sticky cookie, byCookie the members with a weight by
	// these values: nil when the route is not sticky.
	cookies  map[*Member]string
	byCookie map[string]*Member
	members  []*Member
	options  PoolOptions
}

// first is the first pool of a spread, in one piece of memory with it, and with the list of
// its members where there is only one.
type first struct {
	pool   Pool
	spread spread
	sole   [1]*Member
}

// canaries are the members that share one canary rule.
type canaries struct {
	rule  Canary
	group group
}

// NewPool builds a pool over members, whose Endpoints the caller has acquired from one
// Registry, and owns the slice from then on. Requests that find no place wait in room,
// which outlives the pool.
func NewPool(members []*Member, o PoolOptions, room *Room) *Pool {
	f := &first{}
	p := &f.spread
	if len(members) == 1 {
		f.sole[0] = members[0]
		members = f.sole[:]
	}
	p.members, p.options = members, o
	p.nameSticky(room.registry.options.StickyKey)
	var stable []*Member
	byRule := make(map[Canary][]*Member)
	var rules []Canary
	for _, m := range members {
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
	if len(stable) == len(members) {
		stable = members // one slice less in most pools
	}
	p.stable = newGroup(stable, &p.options, 0)
	// Conditions are tested before percentages are drawn.
	slices.SortStableFunc(rules, func(a, b Canary) int {
		return boolInt(a.drawn()) - boolInt(b.drawn())
	})
	for _, rule := range rules {
		p.canaries = append(p.canaries, canaries{rule, newGroup(byRule[rule], &p.options, 2)})
		p.drawn = p.drawn || rule.drawn()
	}
	f.pool = Pool{p, room}
	return &f.pool
}

// In returns a pool with the same members and options for another room, sharing
// everything else.
func (p *Pool) In(room *Room) *Pool { return &Pool{p.spread, room} }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// drawn reports whether the rule is a percentage.
func (c *Canary) drawn() bool { return c.Header == "" && c.Cookie == "" }

// takes reports whether the rule sends a request to its canaries.
func (c *Canary) takes(a Attributes, t *Tried) bool {
	switch {
	case c.Header != "":
		return string(a.Header(c.Header)) == c.Value
	case c.Cookie != "":
		return hasCookie(a, c.Cookie, c.Value)
	}
	return c.Percent > 0 && t.draw(c.Percent) < c.Percent
}

// Members returns the members. The slice must not be modified.
func (p *Pool) Members() []*Member { return p.members }

// SharesMembers reports whether two pools differ in nothing but their room.
func (p *Pool) SharesMembers(o *Pool) bool { return o != nil && p.spread == o.spread }

// Room returns the room in which requests of the pool wait.
func (p *Pool) Room() *Room { return p.room }

// Options returns the route's options for the pool.
func (p *Pool) Options() PoolOptions { return p.options }

// Tried are the endpoints on which a request was tried, which are chosen again only
// when there is no other, and the random number that was drawn for the request.
type Tried struct {
	endpoints [4]*Endpoint
	n         int
	drawn     uint64 // 0 until something is drawn
}

// Add records e. Only the last few are remembered.
func (t *Tried) Add(e *Endpoint) {
	t.endpoints[t.n%len(t.endpoints)] = e
	t.n++
}

// Has reports whether e was tried.
func (t *Tried) Has(e *Endpoint) bool {
	return t.n > 0 && slices.Contains(t.endpoints[:], e)
}

// draw returns a number from 0 to 100, always the same for one request and percentage.
// So a waiting request is not drawn again for each free place until it goes to a
// canary.
func (t *Tried) draw(percent float64) float64 {
	if t.drawn == 0 {
		t.drawn = rand.Uint64() | 1
	}
	return float64(mix(t.drawn^math.Float64bits(percent))>>11) / (1 << 53) * 100
}

// search is one search for a member, on behalf of one request.
type search struct {
	now   time.Time
	a     Attributes
	tried *Tried
	room  *Room // the pool's room
	// inLine also takes places that other requests wait for, because it is this
	// request's turn.
	inLine bool
	// ejected also takes ejected members, again also members that were tried.
	ejected, again bool
}

// Pick chooses the member for a request and takes a place there: the request is in
// flight there until End. It returns nil when no member has a place that no other
// request waits for; then the caller must use the Room. An ejected member is better
// than none. One in tried is chosen only when again is set and there is no other.
func (p *Pool) Pick(now time.Time, a Attributes, tried *Tried, again bool) *Member {
	return p.pick(&search{now: now, a: a, tried: tried}, again)
}

func (p *Pool) pick(s *search, again bool) *Member {
	s.room = p.room
	m := p.take(s)
	if m == nil {
		s.ejected = true
		m = p.take(s)
	}
	if m == nil && again && s.tried.n > 0 {
		s.again = true
		m = p.take(s)
	}
	return m
}

// take chooses a member and takes a place there.
func (p *Pool) take(s *search) *Member {
	for {
		m := p.choose(s)
		if m == nil || m.begin() {
			return m
		}
		// Another request took the last place in between: now the member is seen to be
		// full.
	}
}

func (p *Pool) choose(s *search) *Member {
	sticky := p.sticky(s)
	for i := range p.canaries {
		c := &p.canaries[i]
		mine := sticky != nil && sticky.Canary != nil && *sticky.Canary == c.rule
		switch {
		case mine && (c.rule.Percent > 0 || c.rule.takes(s.a, s.tried)):
			return sticky
		case sticky != nil && sticky.Canary == nil && c.rule.drawn():
			// A client that a cookie keeps on a stable member is not drawn.
		case c.rule.takes(s.a, s.tried):
			if m := c.group.choose(s); m != nil {
				return m
			}
		}
	}
	if sticky != nil && sticky.Canary == nil {
		return sticky
	}
	if m := p.stable.choose(s); m != nil || !p.drawn || p.stable.anyUp() {
		return m
	}
	for i := range p.canaries {
		if c := &p.canaries[i]; c.rule.Percent > 0 {
			if m := c.group.choose(s); m != nil {
				return m
			}
		}
	}
	return nil
}

// admits reports whether the request may be sent to m, the only member with a place: no
// other member could be chosen before it.
func (p *Pool) admits(m *Member, q *WaitingRequest) bool {
	switch {
	case !q.Again && q.Tried.Has(m.Endpoint):
		return false
	case m.Canary == nil || m.Canary.takes(q.Attributes, q.Tried):
		return true
	case m.Canary.Percent > 0:
		return p.sticks(q.Attributes, m) || !p.stable.anyUp()
	}
	return false
}

// Another reports whether a member that the request has not been tried on could take
// it, whether or not it has a place.
func (p *Pool) Another(a Attributes, tried *Tried) bool {
	q := WaitingRequest{Attributes: a, Tried: tried}
	for _, m := range p.members {
		if m.Weight > 0 && m.Endpoint.State() == Ready && p.admits(m, &q) {
			return true
		}
	}
	return false
}

// anyFree reports whether some member has a place now.
func (p *Pool) anyFree() bool {
	for _, m := range p.members {
		if m.Weight > 0 && m.free(0) {
			return true
		}
	}
	return false
}

// fit reports whether the search may choose m now.
func (m *Member) fit(s *search) bool {
	e := m.Endpoint
	if state := e.State(); state != Ready && !(state == Ejected && s.ejected) || !s.again && s.tried.Has(e) {
		return false
	}
	if !s.inLine && e.wishes.wanted.Load() {
		return false
	}
	return m.MaxInflight == 0 || e.Inflight() < m.MaxInflight
}

// free reports whether m has a place now, for any request. That many requests on it are
// not counted.
func (m *Member) free(uncounted int) bool {
	e := m.Endpoint
	return e.up() && (m.MaxInflight == 0 || e.Inflight()-uncounted < m.MaxInflight)
}

// begin takes a place for one request on m's endpoint, and reports whether there
// was one.
func (m *Member) begin() bool {
	if m.MaxInflight == 0 {
		m.Endpoint.inflight.Add(1)
		return true
	}
	return m.Endpoint.inflight.Take(1, int64(m.MaxInflight))
}

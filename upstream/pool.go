package upstream

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
	members []Member
	options PoolOptions
	room    *Room
}

// NewPool builds a pool over members, whose Endpoints the caller has acquired
// from one Registry. Requests that find no ready member wait in room, which
// outlives the pool.
func NewPool(members []Member, o PoolOptions, room *Room) *Pool {
	return &Pool{members: members, options: o, room: room}
}

// Members returns the members. The slice must not be modified.
func (p *Pool) Members() []Member { return p.members }

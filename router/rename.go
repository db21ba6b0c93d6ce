package router

// place is the part of a route's identity without its name.
type place struct {
	host string
	claim
}

// renamed returns the routes that no instance asks for any more and whose place another
// route of the service takes: it keeps their state.
func (c *compilation) renamed(last map[routeID]*Route) map[place]*Route {
	passed := make(map[place]*Route)
	left := make(map[place]*Route) // by place
	for s, r := range last {
		if !c.demands[s].granted() {
			left[place{s.host, s.claim}] = r
		}
	}
	if len(left) == 0 {
		return passed
	}
	for s, d := range c.demands {
		if !d.granted() {
			continue
		}
		if r := left[place{s.host, s.claim}]; r != nil && last[s] == nil {
			passed[place{s.host, s.claim}] = r
		}
	}
	return passed
}

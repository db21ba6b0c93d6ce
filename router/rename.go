package router

// place is what a route takes, whatever it is called.
type place struct {
	host string
	claim
}

// renamed returns the routes that nobody asks for any more and whose place
// another route of the service takes: that one goes on with what they kept.
func (c *compilation) renamed(last map[routeID]*Route) map[place]*Route {
	passed := make(map[place]*Route)
	left := make(map[place]*Route) // by whatever name
	for s, r := range last {
		if c.demands[s] == nil {
			left[place{s.host, s.claim}] = r
		}
	}
	if len(left) == 0 {
		return passed
	}
	for s := range c.demands {
		if r := left[place{s.host, s.claim}]; r != nil && last[s] == nil {
			passed[place{s.host, s.claim}] = r
		}
	}
	return passed
}

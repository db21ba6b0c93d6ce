package router

// place is what a seat takes, whatever its route is called.
type place struct {
	host string
	claim
}

// renamed returns the routes that nobody asks for any more and whose place
// another route of the service takes: that one goes on with what they kept.
func (c *compilation) renamed(last map[seat]*Route) map[place]*Route {
	passed := make(map[place]*Route)
	for s := range c.demands {
		if last[s] != nil {
			continue
		}
		for old, r := range last {
			if c.demands[old] == nil && old.host == s.host && old.claim == s.claim {
				passed[place{s.host, s.claim}] = r
			}
		}
	}
	return passed
}

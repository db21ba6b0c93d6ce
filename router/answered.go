package router

import "slices"

// answered is a path that a policy of a route answers for the whole host.
type answered struct {
	path  string
	route *Route
}

// findAnswered finds the paths that policies answer by themselves, and a route for each.
func (e *entry) findAnswered() {
	var all []answered
	for b := range e.buckets() {
		for _, r := range b.live {
			for _, path := range r.Policies.AnsweredPaths() {
				if !slices.ContainsFunc(all, func(a answered) bool { return a.path == path }) {
					all = append(all, answered{path, r})
				}
			}
		}
	}
	if len(all) > 0 {
		e.answered = &all
	}
}

// answering returns the route with the policy that answers a path for the whole host, nil
// for none.
func (e *entry) answering(path []byte) *Route {
	if e == nil || e.answered == nil {
		return nil
	}
	for _, a := range *e.answered {
		if a.path == string(path) {
			return a.route
		}
	}
	return nil
}

// hasGuard reports whether a route of the entry has a guard.
func (e *entry) hasGuard() bool {
	return e != nil && (e.guards || e.many != nil && e.many.guards > 0)
}

package router

import "serai/internal/urlpath"

// finding is the search for one request's route.
type finding struct {
	q    *Query
	host []byte // normal form
	t    *Table
	// of restricts the search to the live routes of the service of this
	// lingering route; nil does not.
	of *Route
	// held says who holds the host: of less specific routes, only the holder's count.
	held *holding
	// top is the highest priority of the wildcard and "*" routes that count.
	top int
	// reserved is set when the path is reserved for the operator and no route claims
	// the host by name: then only routes of the operator's file count.
	reserved bool
	// literal has a dot segment be a segment like any other, and spelled says that it is
	// compared with the normal spelling of routes, too: see disguised.
	literal, spelled bool
	// miss is the most specific reason so far.
	miss Miss
}

// Lookup returns the route that takes a request, or why none does. It does not
// allocate.
//
// The order is: higher priority; exact host, then wildcard, then "*"; exact path, then
// longer prefix; more conditions; older claim. A lingering route takes part as if it
// had instances, but gives way to any live route of its own service, so that after a
// deploy that changes a service's tags, requests go to its new instances at once.
func (t *Table) Lookup(q *Query) (*Route, Miss) {
	f := finding{q: q, host: q.Host, t: t, miss: NoHost}
	// Most hosts come in normal form: then one lookup finds the entry.
	exact := t.hosts.get(q.Host)
	var buf normalBuffer
	if exact == nil {
		if f.host = normalHost(q.Host, &buf); len(f.host) != len(q.Host) || len(f.host) > 0 && &f.host[0] != &q.Host[0] {
			exact = t.hosts.get(f.host)
		}
	}
	if exact != nil && exact.sole != nil && (exact.solePriority >= t.broadTop || exact.solePriority >= t.topOf(exact.holding)) && takesPath("/", false, q.Path) {
		return exact.sole, Found
	}
	f.begin(exact)
	if r := f.answering(exact); r != nil {
		return r, Found
	}
	r := f.find(exact)
	switch {
	case r == nil:
		return nil, f.miss
	case q.isPlain() && !f.hasSpelled(exact), !f.hasGuard(exact):
		return r, Found
	}
	if miss := f.disguised(exact, r); miss != Found {
		return nil, miss
	}
	return r, Found
}

// answering returns a route whose policy answers the path for the whole host, such as one
// that only takes another path of it; exact is the entry of the host.
func (f *finding) answering(exact *entry) *Route {
	if r := exact.answering(f.q.Path); r != nil && f.mayTake(r) {
		return r
	}
	if f.t.wildcards.len > 0 {
		if rest := parent(f.host); rest != nil {
			wildcard := f.t.wildcards.get(rest)
			if r := wildcard.answering(f.q.Path); r != nil && f.mayTake(r) {
				return r
			}
			if exact == nil && wildcard != nil {
				f.held = wildcard.holding
			}
		}
	}
	if r := f.t.any.answering(f.q.Path); r != nil && f.mayTake(r) {
		return r
	}
	return nil
}

// mayTake reports whether a route may take requests for the host.
func (f *finding) mayTake(r *Route) bool {
	return f.held.admits(r) && (!r.guarded || f.t.owners.allow(r.Namespace, f.host))
}

// find returns the route that takes the request, nil for none; exact is the entry of the
// host.
func (f *finding) find(exact *entry) *Route {
	r := f.search(exact)
	if r != nil && r.Lingers() {
		f.of = r
		if live := f.search(exact); live != nil {
			r = live
		}
		f.of = nil
	}
	return r
}

// hasGuard reports whether a route that the host may lead to has a guard; exact is the
// entry of the host.
func (f *finding) hasGuard(exact *entry) bool {
	if exact.hasGuard() || f.t.any.hasGuard() {
		return true
	}
	rest := parent(f.host)
	return rest != nil && f.t.wildcards.get(rest).hasGuard()
}

// hasSpelled reports whether the path of a route that the host may lead to has encoded bytes;
// exact is the entry of the host. Then a plain path may be another spelling of it.
func (f *finding) hasSpelled(exact *entry) bool {
	return exact != nil && exact.spelled != nil || f.t.broadSpelled
}

// begin finds the holder of the host.
func (f *finding) begin(exact *entry) {
	f.top = f.t.broadTop
	if exact != nil {
		if f.held = exact.holding; f.top > lowestPriority {
			f.top = f.t.topOf(f.held)
		}
	}
}

// topOf returns the highest priority of a wildcard or "*" route that may take requests
// for a host with this holding.
func (t *Table) topOf(h *holding) int {
	if h == nil || h.everybody {
		return t.broadTop
	}
	top, ok := t.broadTops[""]
	if !ok {
		top = lowestPriority
	}
	for _, n := range h.namespaces {
		if p, ok := t.broadTops[n]; ok {
			top = max(top, p)
		}
	}
	return top
}

// search goes through the entries that cover the host; exact is given.
func (f *finding) search(exact *entry) (best *Route) {
	best = f.in(exact)
	if best != nil && best.Priority >= f.top {
		return best
	}
	before := f.miss
	f.reserved = f.t.isReserved(f.q.Path)
	if f.t.wildcards.len > 0 {
		if rest := parent(f.host); rest != nil {
			wildcard := f.t.wildcards.get(rest)
			best = f.better(best, f.in(wildcard))
			if exact == nil && wildcard != nil {
				f.held = wildcard.holding
			}
		}
	}
	best = f.better(best, f.in(f.t.any))
	if f.reserved && best == nil {
		f.miss = before // the routes that did not count are no reason either
	}
	f.reserved = false
	return best
}

// isReserved reports whether a path is reserved for the operator.
func (t *Table) isReserved(path []byte) bool {
	for _, r := range t.reserved {
		if takesPath(r, false, path) {
			return true
		}
	}
	return false
}

// better returns the route of higher priority, the first when both are equal.
func (f *finding) better(a, b *Route) *Route {
	if a == nil || b != nil && b.Priority > a.Priority {
		return b
	}
	return a
}

// in returns the first route of an entry that takes the request.
func (f *finding) in(e *entry) *Route {
	if e == nil {
		return nil
	}
	best := f.asWritten(e)
	if f.spelled && e.spelled != nil {
		best = nearerSpelled(best, f.inSpelled(e.spelled))
	}
	return best
}

// asWritten is in, for paths as the routes write them.
func (f *finding) asWritten(e *entry) *Route {
	if e.many != nil {
		return f.inPaths(e.many)
	}
	for _, r := range e.few.live {
		if f.takesPath(r) && f.takes(r) {
			return r
		}
		f.miss = max(f.miss, NoPath)
	}
	return nil
}

// inPaths does the same for an entry with many routes. If all have one priority, the
// first route found, starting at the most specific path, wins; otherwise all paths are
// searched.
func (f *finding) inPaths(p *paths) *Route {
	f.miss = max(f.miss, NoPath)
	path := f.q.Path
	best := f.inBucket(p.exact.get(path))
	for _, n := range p.order {
		if best != nil && len(p.priorities) == 1 {
			return best
		}
		if n > len(path) || n > 0 && n < len(path) && path[n] != '/' {
			continue
		}
		b := p.prefix.get(path[:n])
		if b == nil || n > 0 && !f.literal && urlpath.Climbs(path[n:]) {
			continue
		}
		best = f.better(best, f.inBucket(b))
	}
	return best
}

// inBucket returns the first route of a bucket that takes the request. Its path
// matches.
func (f *finding) inBucket(b *bucket) *Route {
	if b != nil {
		for _, r := range b.live {
			if f.takes(r) {
				return r
			}
		}
	}
	return nil
}

// takes reports whether a route takes the request. Its host and path match.
func (f *finding) takes(r *Route) bool {
	if f.reserved && !r.local() || !f.mayTake(r) {
		return false
	}
	if f.of != nil && (r.Lingers() || r.Service != f.of.Service || r.Namespace != f.of.Namespace) {
		return false
	}
	if len(r.Conditions) > 0 && !met(r.Conditions, f.q) {
		f.miss = NoCondition
		return false
	}
	return true
}

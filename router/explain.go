package router

import (
	"fmt"
	"slices"
	"strings"

	"serai/discovery"
	"serai/policy"
)

// Explanation says which route takes a request, and why each other candidate does not.
type Explanation struct {
	// Host is the request's host in the form in which it is looked up.
	Host string `json:"host"`
	Path string `json:"path"`
	// Result is "found", or why no route takes the request: "no-host", "no-path", "no-condition", "disguised-path" or
	// "disguised-method". Of a request that is refused before any route is looked for, it is the reason for that, such
	// as "bad-host".
	Result string `json:"result"`
	// Why says the same in words, with the status of the answer; empty for "found".
	Why string `json:"why,omitempty"`
	// Winner is the route's ID, empty when there is none.
	Winner string `json:"winner,omitempty"`
	// Ready says how many instances of the winner take requests, and why the others do
	// not.
	Ready string `json:"ready,omitempty"`
	// Policies say what the winner does to a request and its answer, in the order in
	// which it is done.
	Policies []string `json:"policies,omitempty"`
	// Candidates are the routes of the host in the order in which they are tried.
	Candidates []Candidate `json:"candidates"`
	// More counts candidates that are left out.
	More int `json:"more,omitempty"`
	// Refused are the rejections for this host.
	Refused []Rejection `json:"refused,omitempty"`
}

// Candidate is a route whose host pattern covers the request's host.
type Candidate struct {
	Route      string   `json:"route"`
	Host       string   `json:"host"`
	Path       string   `json:"path"`
	Exact      bool     `json:"exact,omitempty"`
	Conditions []string `json:"conditions,omitempty"`
	Priority   int      `json:"priority"`
	Index      uint64   `json:"create_index"`
	// DefaultHost says that no tag names the host.
	DefaultHost bool   `json:"default_host,omitempty"`
	Wins        bool   `json:"wins,omitempty"`
	Why         string `json:"why"`
}

// maxCandidates bounds an Explanation. The winner is always among them.
const maxCandidates = 100

// Explain looks a request up as Lookup does, and says why. It goes through all routes
// of the host: it is for people, not for requests.
func (t *Table) Explain(q *Query) Explanation {
	winner, miss := t.Lookup(q)
	var buf normalBuffer
	host := normalHost(q.Host, &buf)
	x := Explanation{Host: printable(string(host)), Path: printable(string(q.Path)), Result: miss.String(), Why: miss.Why(), Candidates: []Candidate{}}
	if winner != nil {
		x.Winner = winner.ID()
		x.Ready = printable(winner.Pool.Room().Readiness())
		x.Policies = winner.ExplainPolicies()
		if why := t.explainPages(winner); why != "" {
			x.Policies = append(x.Policies, "errors: its pages are not shown now: "+why)
		}
	}
	for _, s := range t.candidates(host) {
		c := s.route.candidate()
		c.Wins = s.route == winner
		if c.Wins {
			c.Why = "takes the request: " + s.route.reason()
		} else {
			c.Why = t.lost(s, winner, q, host)
		}
		if len(x.Candidates) >= maxCandidates && !c.Wins {
			x.More++
			continue
		}
		x.Candidates = append(x.Candidates, c)
	}
	x.Refused = t.refusedFor(host)
	return x
}

// ExplainPolicies says what the policies of a route and of its instances do.
func (r *Route) ExplainPolicies() []string {
	members := r.Pool.Members()
	instances := make([]*policy.List, len(members))
	for i := range members {
		instances[i] = members[i].Policies
	}
	lines := policy.Explain(r.Policies, instances)
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return lines
}

// candidates returns all routes that cover host, in the order in which they are tried.
func (t *Table) candidates(host []byte) (all []shadow) {
	entries := []*entry{t.hosts.get(host)}
	if rest := parent(host); rest != nil {
		entries = append(entries, t.wildcards.get(rest))
	}
	for _, e := range append(entries, t.any) {
		start := len(all)
		for b := range e.buckets() {
			for _, r := range b.live {
				all = append(all, shadow{route: r})
			}
			all = append(all, b.shadowed()...)
		}
		if e != nil {
			for _, r := range e.foreign() {
				all = append(all, shadow{route: r})
			}
		}
		slices.SortStableFunc(all[start:], func(a, b shadow) int { return a.route.nearer(b.route) })
	}
	slices.SortStableFunc(all, func(a, b shadow) int { return b.route.Priority - a.route.Priority })
	return all
}

// holding returns which namespace holds a host.
func (t *Table) holding(host []byte) *holding {
	e := t.hosts.get(host)
	if e == nil {
		if rest := parent(host); rest != nil {
			e = t.wildcards.get(rest)
		}
	}
	if e == nil {
		e = t.any
	}
	if e == nil {
		return nil
	}
	return e.holding
}

func (r *Route) candidate() Candidate {
	c := Candidate{Route: printable(r.ID()), Host: r.Host, Path: r.Path, Exact: r.Exact, Priority: r.Priority, Index: r.CreateIndex, DefaultHost: r.DefaultHost}
	for _, condition := range r.Conditions {
		c.Conditions = append(c.Conditions, printable(condition.String()))
	}
	return c
}

// reason says which requests a route takes.
func (r *Route) reason() string {
	s := "host " + r.Host
	if r.DefaultHost {
		s += ", the service's default host"
	}
	s += ", path " + r.match()
	if r.Priority != 0 {
		s += fmt.Sprintf(", priority %d", r.Priority)
	}
	if n := len(r.Conditions); n > 0 {
		s += fmt.Sprintf(", %d condition(s)", n)
	}
	if r.Lingers() {
		s += "; it has no instance now and waits for the next one"
	}
	return s
}

// lost says why a candidate does not take the request.
func (t *Table) lost(s shadow, winner *Route, q *Query, host []byte) string {
	r := s.route
	switch {
	case s.holder != nil:
		return "the same host, path and conditions are held by " + printable(s.holder.String()) + ", which " + s.holder.precedence(r)
	case !takesPath(r.Path, r.Exact, q.Path):
		return "the path does not match " + r.match() + nearMiss(r, q.Path)
	case strings.HasPrefix(r.Host, "*") && !r.local() && t.isReserved(q.Path):
		return "the path is the operator's on hosts that are not claimed by name"
	case !t.holding(host).admits(r):
		return "the host belongs to " + t.holding(host).String()
	case r.guarded && !t.owners.allow(r.Namespace, host):
		return "its namespace may not serve this host"
	}
	for _, c := range r.Conditions {
		if !met([]Condition{c}, q) {
			return "condition not met: " + printable(c.String())
		}
	}
	switch {
	case winner == nil:
		return "it does not take the request"
	case r.Lingers() && !winner.Lingers() && r.Service == winner.Service && r.Namespace == winner.Namespace:
		return "it has no instance and gives way to another route of its service"
	case r.Priority != winner.Priority:
		return fmt.Sprintf("priority %d is lower than %d", r.Priority, winner.Priority)
	case r.Host != winner.Host:
		return "host " + r.Host + " is less specific than " + winner.Host
	case r.Exact != winner.Exact:
		return "a path prefix gives way to an exact path"
	case len(r.Path) != len(winner.Path):
		return "path " + r.Path + " is shorter than " + winner.Path
	case len(r.Conditions) != len(winner.Conditions):
		return fmt.Sprintf("%d condition(s) are fewer than %d", len(r.Conditions), len(winner.Conditions))
	}
	index, ofConsul := discovery.Position(r.CreateIndex)
	first, winnersToo := discovery.Position(winner.CreateIndex)
	switch {
	case winner.local() || r.place != winner.place: // the age does not decide
	case ofConsul && !winnersToo:
		return "it is registered in Consul, and the other in Nomad, whose claims come first where nobody has recorded another order"
	case index > first:
		return fmt.Sprintf("its claim is newer: index %d, after %d", index, first)
	}
	return "the claim of " + printable(winner.ID()) + " " + winner.precedence(r)
}

// refusedFor returns the rejections for a host, or for a pattern that covers it.
func (t *Table) refusedFor(host []byte) (refused []Rejection) {
	covers := func(pattern string) bool {
		suffix, wild := cutWildcard(pattern)
		return pattern == string(host) || wild && suffix == string(parent(host)) || pattern == "*"
	}
	for r := range t.EachRejection {
		if slices.ContainsFunc(r.Hosts, covers) {
			refused = append(refused, r)
		}
	}
	slices.SortFunc(refused, Rejection.compare)
	return refused
}

package router

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"serai/discovery"
)

// Contest is one part of a host that several services claim.
type Contest struct {
	// Name is the same on every node and unique among contests. It begins with the host
	// pattern and a blank.
	Name string
	// Claimants are in the order of the contest: the first one holds the claim, the
	// second one would hold it without the first.
	Claimants []Claimant
}

// Claimant is a service in a Contest.
type Claimant struct {
	discovery.Key
	// Conditions distinguishes claims on the same path with different conditions; empty
	// when the claim has none.
	Conditions string
	// Job is a job that registered the service, as far as known.
	Job string
	// Instances says that the service has instances that make the claim now. Otherwise
	// it lingers.
	Instances bool
}

// Same reports whether two claimants are the same claim of the same service.
func (c Claimant) Same(o Claimant) bool { return c.Key == o.Key && c.Conditions == o.Conditions }

// SameJob reports whether one job makes the claim under two service names.
func (c Claimant) SameJob(o Claimant) bool {
	return c.Job != "" && c.Job == o.Job && c.Namespace == o.Namespace && c.Conditions == o.Conditions
}

// Agreement is the order of claimants that all nodes share, by the name of the contest.
// Never modified once passed to a Builder.
type Agreement map[string][]Claimant

// place is the position of a route in its contest, from 1; 0 when none is agreed. A
// service that is not listed has the position of another service of the same job: it
// may be the new name of that one.
func (a Agreement) place(r *Route) int {
	if len(a) == 0 {
		return 0
	}
	c, claimants := r.claimant(), a[r.contest()]
	at := slices.IndexFunc(claimants, c.Same)
	if at < 0 {
		at = slices.IndexFunc(claimants, c.SameJob)
	}
	return at + 1
}

// maxContestRest bounds what follows the host in the name of a contest, in
// bytes.
const maxContestRest = 96

// contest names the contest of a route with its rivals. Between two routes in different
// contests age never decides.
func (r *Route) contest() string {
	rest := r.Path
	if r.Exact {
		rest = "=" + rest
	}
	if r.Priority != 0 {
		rest += fmt.Sprintf(" priority %d", r.Priority)
	}
	if len(r.Conditions) > 0 {
		rest += fmt.Sprintf(" conditions %d", len(r.Conditions))
	}
	if len(rest) > maxContestRest || printable(rest) != rest {
		rest = "#" + digest(rest)
	}
	return r.Host + " " + rest
}

// digest is a short hash, for texts that nobody reads.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:12])
}

func (r *Route) claimant() Claimant {
	c := Claimant{Key: discovery.Key{Namespace: r.Namespace, Name: r.Service}, Job: r.Job, Instances: !r.Lingers()}
	if r.conditions != "" {
		c.Conditions = digest(r.conditions)
	}
	return c
}

// local reports whether the route comes from a file, which other nodes may not have,
// and not from Nomad.
func (r *Route) local() bool { return r.CreateIndex == 0 }

// rivals reports whether only age decides between two routes of one host, and some
// request would match both.
func (r *Route) rivals(o *Route) bool {
	return r.Priority == o.Priority && r.Exact == o.Exact && r.Path == o.Path && len(r.Conditions) == len(o.Conditions) &&
		(r.Namespace != o.Namespace || r.Service != o.Service) && !apart(r.Conditions, o.Conditions)
}

// apart reports whether no request can meet both lists of conditions, because they want
// different methods.
func apart(a, b []Condition) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Kind == OnMethod && y.Kind == OnMethod {
				return !slices.ContainsFunc(x.Methods, func(m string) bool { return slices.Contains(y.Methods, m) })
			}
		}
	}
	return false
}

// maxClaimants bounds the claimants of a Contest: one that is further behind hardly
// ever comes to hold it.
const maxClaimants = 8

// contests returns the contests within an entry.
func (e *entry) contests() (all []Contest) {
	for b := range e.buckets() {
		if !b.contested() {
			continue
		}
		routes := slices.SortedFunc(b.all(), (*Route).nearer)
		for len(routes) > 0 {
			n := 1
			for n < len(routes) && routes[n].tried(routes[0]) {
				n++
			}
			if c, ok := newContest(routes[:n]); ok {
				all = append(all, c)
			}
			routes = routes[n:]
		}
	}
	return all
}

// tried reports whether a request tries two routes one after the other, in the order of
// their age.
func (r *Route) tried(o *Route) bool {
	return r.Priority == o.Priority && r.Exact == o.Exact && r.Path == o.Path && len(r.Conditions) == len(o.Conditions)
}

// contested is a cheap test for whether there may be a contest.
func (b *bucket) contested() bool {
	if b.shadows != nil {
		return true
	}
	for i := 1; i < len(b.live); i++ {
		if len(b.live[i].Conditions) > 0 && b.live[i].rivals(b.live[i-1]) {
			return true
		}
	}
	return false
}

// newContest makes the contest of routes of one host, path and priority, in
// order of age.
func newContest(routes []*Route) (c Contest, ok bool) {
	for i, r := range routes {
		if len(c.Claimants) == maxClaimants {
			break
		}
		one := r.claimant()
		if !r.local() && !slices.ContainsFunc(c.Claimants, one.Same) {
			c.Claimants = append(c.Claimants, one)
			ok = ok || slices.ContainsFunc(routes[:i], func(o *Route) bool { return !o.local() && o.rivals(r) })
		}
	}
	if len(routes) > 0 {
		c.Name = routes[0].contest()
	}
	return c, ok
}

// Contests returns the current contests, and those that were agreed before with the
// claimants that are left, sorted by name.
func (b *Builder) Contests() (all []Contest) {
	found := make(map[string]bool)
	for _, of := range b.contests {
		for _, c := range of {
			found[c.Name] = true
			all = append(all, c)
		}
	}
	for _, c := range b.quotaContests() {
		found[c.Name] = true
		all = append(all, c)
	}
	for name := range b.agreed {
		if found[name] {
			continue
		}
		host, _, _ := strings.Cut(name, " ")
		var left []*Route
		for bucket := range b.router.Current().entry(host).buckets() {
			for r := range bucket.all() {
				if r.contest() == name {
					left = append(left, r)
				}
			}
		}
		slices.SortFunc(left, (*Route).nearer)
		c, _ := newContest(left)
		c.Name = name
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Contest) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

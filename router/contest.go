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
	// Name is the same on every node and tells it from all others. It begins
	// with the host pattern and a blank.
	Name string
	// Claimants are in the order in which they hold it: the first does, the
	// second would without the first.
	Claimants []Claimant
}

// Claimant is a service in a Contest.
type Claimant struct {
	discovery.Key
	// Conditions tells claims of the same path apart that ask for different
	// conditions; empty when the claim has none.
	Conditions string
	// Job is one that registered the service, as far as it is known.
	Job string
	// Instances says that the service has instances that claim it now. Else it
	// lingers.
	Instances bool
}

// Same reports whether two claimants are the same claim of the same service.
func (c Claimant) Same(o Claimant) bool { return c.Key == o.Key && c.Conditions == o.Conditions }

// sameJob reports whether one job makes the claim under two names.
func (c Claimant) sameJob(o Claimant) bool {
	return c.Job != "" && c.Job == o.Job && c.Namespace == o.Namespace && c.Conditions == o.Conditions
}

// Agreement is the order of claimants that all nodes know, by the name of the
// contest. Never modified once a Builder has it.
type Agreement map[string][]Claimant

// place is where a route stands in its contest, from 1; 0 when nothing is
// agreed. A service that is not there has the place of one that its job
// registers, too: it may be the new name of it.
func (a Agreement) place(r *Route) int {
	if len(a) == 0 {
		return 0
	}
	c, claimants := r.claimant(), a[r.contest()]
	at := slices.IndexFunc(claimants, c.Same)
	if at < 0 {
		at = slices.IndexFunc(claimants, c.sameJob)
	}
	return at + 1
}

// maxContestRest bounds what follows the host in the name of a contest, in
// bytes.
const maxContestRest = 96

// contest names what the route may share with others. Of two routes in
// different contests it is never their age that decides between them.
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

// digest is short and tells texts apart that nobody is to read.
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

// local reports whether the route is of no Nomad, but of a file that other
// nodes may not have.
func (r *Route) local() bool { return r.CreateIndex == 0 }

// rivals reports whether age alone decides between two routes of one host, and
// there is a request that both would take.
func (r *Route) rivals(o *Route) bool {
	return r.Priority == o.Priority && r.Exact == o.Exact && r.Path == o.Path && len(r.Conditions) == len(o.Conditions) &&
		(r.Namespace != o.Namespace || r.Service != o.Service) && !apart(r.Conditions, o.Conditions)
}

// apart reports whether two lists of conditions are never both met, because
// they want different methods.
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

// maxClaimants bounds the claimants of a Contest: who is further behind hardly
// comes to hold it.
const maxClaimants = 8

// contests returns what several services claim of an entry.
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

// tried reports whether a request tries two routes next to each other, in the
// order of their age.
func (r *Route) tried(o *Route) bool {
	return r.Priority == o.Priority && r.Exact == o.Exact && r.Path == o.Path && len(r.Conditions) == len(o.Conditions)
}

// contested is a quick look at whether there may be a contest.
func (b *bucket) contested() bool {
	if len(b.shadowed) > 0 {
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

// Contests returns what several services claim, and all that was agreed with
// what is left of it, sorted by name.
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

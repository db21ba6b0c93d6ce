package router

import (
	"cmp"
	"math"
	"strings"
	"time"

	"serai/discovery"
	"serai/policy"
	"serai/upstream"
)

// Route is one claim of a service on a host and path, and where its requests go. Never
// modified once in a Table. There may be a hundred thousand, so what many have in common
// is elsewhere.
type Route struct {
	*Common
	// Host is a name, an address, "*.example.org" or "*".
	Host string
	// Path is a whole path when Exact, a prefix otherwise: "/", or without
	// trailing slash.
	Path  string
	Exact bool
	// DefaultHost says that no tag of the newest instance names the host: see
	// Options.DefaultHost.
	DefaultHost bool
	guarded     bool  // may serve only the hosts of its namespace
	place       int32 // agreed by all nodes, from 1; 0 for none
	// Pool holds the instances that ask for the route: none while it lingers.
	Pool *upstream.Pool
	// CreateIndex is the age of the claim: the lowest Instance.Created of an instance
	// that made it, since it was made without a gap longer than Options.Linger.
	CreateIndex uint64
	// Expires is when a lingering route ends; zero when it has instances.
	Expires time.Time

	present uint64 // like CreateIndex, of the current instances only
}

// Common is what the routes of one definition have in common. Never modified once in a
// Table.
type Common struct {
	Namespace, Service string
	// Job is the job of the newest instance.
	Job string
	// Name is the route's name within the service, empty for the unnamed one.
	Name string
	// Conditions must all be met.
	Conditions []Condition
	Priority   int
	// Options are the options of the newest instance that asks for the route.
	Options *RouteOptions
	// Policies are the policies that the Options ask for, and those of the operator's
	// file that apply: nil for none.
	Policies *policy.List
	// Stats is shared by the routes with the same name in one service.
	Stats *Stats

	conditions string            // canonical, for comparison
	bytes      int               // estimated: see memory.go
	once       map[string]string // see Definition
	layers     []policy.Layer    // what the Policies are made from
}

// Lingers reports whether the route's last instance has gone and it waits for
// the next one.
func (r *Route) Lingers() bool { return !r.Expires.IsZero() }

// ID identifies the route: namespace/service/name.
func (r *Route) ID() string { return r.Namespace + "/" + r.Service + "/" + r.Name }

// String names the route for people.
func (r *Route) String() string {
	s := r.Namespace + "/" + r.Service
	if r.Name != "" {
		s += " route " + r.Name
	}
	return s
}

// match returns the path as its tag writes it.
func (r *Route) match() string {
	if r.Exact {
		return "exactly " + r.Path
	}
	return r.Path
}

// claim is what a route takes of its host: of two routes with the same claim
// only one can ever take a request.
type claim struct {
	path       string
	exact      bool
	priority   int
	conditions string
}

func (r *Route) claim() claim { return claim{r.Path, r.Exact, r.Priority, r.conditions} }

// nearer orders the routes of one host as a request tries them: higher priority, then
// exact path over longer prefix, then more conditions, then the older claim.
func (r *Route) nearer(o *Route) int {
	return cmp.Or(
		cmp.Compare(o.Priority, r.Priority),
		cmp.Compare(boolInt(o.Exact), boolInt(r.Exact)),
		cmp.Compare(len(o.Path), len(r.Path)),
		cmp.Compare(len(o.Conditions), len(r.Conditions)),
		r.older(o),
		// The rest has no meaning, and makes the order total.
		strings.Compare(r.Path, o.Path),
		strings.Compare(r.conditions, o.conditions),
	)
}

// older orders claims: first claims of files, which the operator writes, then claims
// with an agreed position, then the others by age. Of one service those with a guard come first,
// since no name may decide whether a request has to pass it; other ties are broken by name.
func (r *Route) older(o *Route) int {
	rank := func(r *Route) int {
		switch {
		case r.local():
			return 0
		case r.place == 0:
			return math.MaxInt
		}
		return int(r.place)
	}
	return cmp.Or(cmp.Compare(rank(r), rank(o)), cmp.Compare(r.CreateIndex, o.CreateIndex),
		cmpStrings(r.Namespace, o.Namespace, r.Service, o.Service),
		cmp.Compare(boolInt(o.Policies.Guards()), boolInt(r.Policies.Guards())), strings.Compare(r.Name, o.Name))
}

// precedence says why a claim comes before another one that only older puts behind it.
func (r *Route) precedence(o *Route) string {
	index, ofConsul := discovery.Position(r.CreateIndex)
	of, behindOfConsul := discovery.Position(o.CreateIndex)
	switch {
	case r.local() && o.local() && r.sameService(o), r.place == o.place && index == of && r.sameService(o):
		return "comes first among the routes of its service"
	case r.local() && o.local():
		return "comes first by its name, since claims in files have no age"
	case r.local():
		return "is in the operator's file"
	case r.place != o.place:
		return "comes first in the recorded order of claims"
	case ofConsul != behindOfConsul:
		return "is registered in Nomad, whose claims come first where nobody has recorded another order"
	case index == of:
		return "comes first by its name, since both are equally old"
	}
	return "is older"
}

func (r *Route) sameService(o *Route) bool {
	return r.Namespace == o.Namespace && r.Service == o.Service
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// conditionsKey writes conditions so that equal ones are equal strings.
func conditionsKey(cs []Condition) string {
	if len(cs) == 0 {
		return ""
	}
	var b strings.Builder
	for _, c := range cs {
		b.WriteString(c.String())
		b.WriteByte('\n') // which no condition contains
	}
	return b.String()
}

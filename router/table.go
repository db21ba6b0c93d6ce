package router

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"serai/internal/pace"
)

// Table has all routes at one moment, and what was refused on the way. Immutable; the
// zero Table is not usable, NewRouter starts with an empty one.
type Table struct {
	// Index is the Nomad index of the snapshot that it was made from.
	Index uint64
	// Built is when it was made.
	Built time.Time
	// Partial says that a source has not sent anything yet: what no route takes may be its.
	Partial bool

	// hosts has exact hosts; wildcards what follows "*."; any "*".
	hosts, wildcards *index[*entry]
	any              *entry
	// broadTop is the highest priority of a wildcard or "*" route: a route of an exact
	// host with this priority wins without looking at them.
	broadTop int
	// broadTops are the same by namespace; "" for the operator's file.
	broadTops map[string]int
	// broadSpelled says that a wildcard or "*" route has encoded bytes in its path.
	broadSpelled bool

	owners *owners
	// reserved are the operator's paths.
	reserved []string
	refused  *index[[]Rejection] // by namespace/service
	pages    *index[[]*Route]    // of services that have error pages: see pages.go
	usage    []Usage
	// sorted has what Routes has returned, nil before.
	sorted *atomic.Pointer[[]*Route]
	// trouble is why no order of claims can be agreed; empty while it can.
	trouble string
}

// hostShards is the number of shards of the index of hosts: with 100,000 hosts a change
// copies a hundred of them.
const hostShards = 1024

func newTable(o *owners, reserved ...string) *Table {
	return &Table{
		sorted: new(atomic.Pointer[[]*Route]),
		hosts:  newIndex[*entry](hostShards), wildcards: newIndex[*entry](hostShards / 4),
		refused: newIndex[[]Rejection](hostShards / 4), pages: newIndex[[]*Route](hostShards / 4), owners: o, reserved: reserved, broadTop: lowestPriority,
	}
}

// lowestPriority is below every priority that a tag can give.
const lowestPriority = -1 << 31

// entries iterates over all entries.
func (t *Table) entries(yield func(*entry) bool) {
	for _, x := range []*index[*entry]{t.hosts, t.wildcards} {
		for _, e := range x.all() {
			if !yield(e) {
				return
			}
		}
	}
	if t.any != nil {
		yield(t.any)
	}
}

// Routes returns all routes that can take a request, sorted by host, and for
// each host in the order that requests try them. It is not to be modified. The first call goes through the whole
// table: it is for people, not for requests, and gives the processor up now and then.
func (t *Table) Routes() []*Route {
	if sorted := t.sorted.Load(); sorted != nil {
		return *sorted
	}
	var routes []*Route
	for e := range t.entries {
		for b := range e.buckets() {
			routes = append(routes, b.live...)
		}
	}
	var p pace.Pace
	slices.SortFunc(routes, func(a, b *Route) int {
		p.Step()
		if c := strings.Compare(a.Host, b.Host); c != 0 {
			return c
		}
		return a.nearer(b)
	})
	t.sorted.Store(&routes)
	return routes
}

// Rejections returns all that was refused, sorted by service. It goes through
// the whole table, and may take more memory than it.
func (t *Table) Rejections() []Rejection {
	return slices.SortedFunc(t.EachRejection, Rejection.compare)
}

// EachRejection iterates over all that was refused, in no particular order. The texts for
// claims that others hold are made on the way, so that they need not all exist at once.
func (t *Table) EachRejection(yield func(Rejection) bool) {
	for _, all := range t.refused.all() {
		for _, r := range all {
			if !yield(r) {
				return
			}
		}
	}
	for e := range t.entries {
		for _, s := range e.shadows() {
			if !yield(t.disputed(s)) {
				return
			}
		}
		for _, r := range e.foreign() {
			if !yield(t.contested(e, r)) {
				return
			}
		}
	}
}

// disputed is the rejection of a shadow. It says so when other nodes may decide
// differently.
func (t *Table) disputed(s shadow) Rejection {
	r := s.rejection()
	if t.trouble != "" && s.route.place == 0 && !s.route.local() && !s.holder.local() && (s.route.Namespace != s.holder.Namespace || s.route.Service != s.holder.Service) {
		r.Why += unrecorded(t.trouble)
	}
	return r
}

// contested is the rejection of a route on a host of others. It says so when other
// nodes may decide differently.
func (t *Table) contested(e *entry, r *Route) Rejection {
	rejection := e.disown(r)
	if t.trouble != "" && !e.disputed.recorded && !e.tenants()[0].local {
		rejection.Why += unrecorded(t.trouble)
	}
	return rejection
}

func unrecorded(trouble string) string {
	return "; that is not recorded (" + trouble + "), so after a restart another node may choose another holder"
}

// rejections returns the rejections of claims that others hold.
func (e *entry) rejections() (all []Rejection) {
	if e == nil {
		return nil
	}
	for _, r := range e.foreign() {
		all = append(all, e.disown(r))
	}
	for _, s := range e.shadows() {
		all = append(all, s.rejection())
	}
	return all
}

func (e *entry) shadows() (all []shadow) {
	for b := range e.buckets() {
		all = append(all, b.shadowed()...)
	}
	return all
}

// entry returns the entry of a host pattern, nil when it has none.
func (t *Table) entry(host string) *entry {
	suffix, wild := cutWildcard(host)
	switch {
	case host == "*":
		return t.any
	case wild:
		return t.wildcards.get([]byte(suffix))
	}
	return t.hosts.get([]byte(host))
}

// rejection says that another route holds a claim.
func (s shadow) rejection() Rejection {
	r, h := s.route, s.holder
	what := "host " + r.Host + ", path " + r.match()
	for _, c := range r.Conditions {
		what += ", " + printable(c.String())
	}
	rejection := Rejection{
		Namespace: printable(r.Namespace), Service: printable(r.Service), Job: printable(r.Job), Route: r.Name,
		Hosts: []string{r.Host}, Holder: printable(h.Namespace + "/" + h.Service),
		Why:     what + " is held by " + printable(h.String()) + ", which " + h.precedence(r),
		Instead: "another host, path or condition; or remove it there",
	}
	if h.Lingers() {
		rejection.Why += "; it has no instance and will be removed soon"
	}
	if h.Namespace == r.Namespace && h.Service == r.Service {
		rejection.Why = what + " is claimed by " + printable(h.String()) + " of the same service, too"
		rejection.Instead = "one of the two routes"
	}
	for _, m := range r.Pool.Members() {
		rejection.join(m.Alloc)
	}
	return rejection.ofDefault(r.DefaultHost)
}

// HostStatus is one host pattern of a table.
type HostStatus struct {
	Host string `json:"host"`
	// Routes counts the routes that can take a request.
	Routes int `json:"routes"`
	// Certificate says that a route wants a certificate for the pattern.
	Certificate bool `json:"certificate"`
}

// Hosts returns all host patterns, sorted. It goes through the whole table.
func (t *Table) Hosts() []HostStatus {
	var hosts []HostStatus
	for e := range t.entries {
		var h HostStatus
		for b := range e.buckets() {
			for _, r := range b.live {
				h.Host = r.Host
				h.Routes++
				h.Certificate = h.Certificate || r.Options.TLS != TLSOff
			}
		}
		if h.Routes > 0 {
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, func(a, b HostStatus) int { return strings.Compare(a.Host, b.Host) })
	return hosts
}

// WantsCertificate reports whether a route of exactly this host wants a certificate for
// it. Patterns do not count: otherwise anybody could make serai order certificates for
// made-up names.
func (t *Table) WantsCertificate(host string) bool {
	var buf normalBuffer
	e := t.hosts.get(normalHost([]byte(host), &buf))
	for b := range e.buckets() {
		for _, r := range b.live {
			if r.Options.TLS != TLSOff {
				return true
			}
		}
	}
	return false
}

// Router holds the current Table. All methods may be called concurrently.
type Router struct{ current atomic.Pointer[Table] }

// NewRouter returns a Router with an empty Table.
func NewRouter() *Router {
	r := &Router{}
	r.current.Store(newTable(nil))
	return r
}

// Current returns the current table. A request loads it once and keeps it to
// its end.
func (r *Router) Current() *Table { return r.current.Load() }

package router

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"serai/discovery"
)

// A host belongs to the namespace that claimed it first, and a wildcard covers the
// hosts below it, except names that others claimed before it. "*" holds nothing: it
// gets only what is left over. docs/decisions/0008 has the reasons.

// holding says which namespaces hold a host. Never modified.
type holding struct {
	// namespaces may serve the host; all may when everybody is set.
	namespaces []string
	everybody  bool
}

// admits reports whether a route may take requests for the host. Routes of the
// operator's file may for every host. A nil holding admits all.
func (h *holding) admits(r *Route) bool {
	return h == nil || h.everybody || r.local() || slices.Contains(h.namespaces, r.Namespace)
}

// sole reports whether only this namespace may serve the host.
func (h *holding) sole(namespace string) bool {
	return h != nil && !h.everybody && len(h.namespaces) == 1 && h.namespaces[0] == namespace
}

func (h *holding) String() string {
	return "namespace " + printable(strings.Join(h.namespaces, ", "))
}

// tenant is a namespace that claims a host.
type tenant struct {
	namespace string
	local     bool // claimed in the operator's file
	place     int  // agreed by all nodes; math.MaxInt for none
	index     uint64
	instances bool
	// pattern is the pattern of its claim: the host, or a wildcard that covers it.
	pattern string
}

func (t *tenant) before(o *tenant) int {
	return cmp.Or(boolInt(o.local)-boolInt(t.local), cmp.Compare(t.place, o.place), cmp.Compare(t.index, o.index),
		strings.Compare(t.namespace, o.namespace))
}

// everyTenant stands for all services of a namespace in a contest of hosts; no service
// has that name.
const everyTenant = "*"

// hostContest names the contest of namespaces for a host. The names of contests for its
// paths also begin with the host, but continue with a slash, "=" or "#".
func hostContest(host string) string { return host + " host" }

// hostPlace is the position of a namespace in the contest for a host, from 1; 0 when
// none is agreed.
func (a Agreement) hostPlace(host, namespace string) int {
	return 1 + slices.IndexFunc(a[hostContest(host)], func(c Claimant) bool { return c.Namespace == namespace })
}

// heirPlace is the best position of a route in a contest for a path between several
// namespaces: such contests were recorded before hosts had a holder.
func (a Agreement) heirPlace(r *Route) int {
	if r.place == 0 {
		return 0
	}
	all := a[r.contest()]
	if !slices.ContainsFunc(all, func(c Claimant) bool { return c.Namespace != all[0].Namespace }) {
		return 0
	}
	return int(r.place)
}

// warden decides which namespace holds one host.
type warden struct {
	*Builder
	host string
	// above is the holder of the wildcard that covers the host, nil for none.
	above *tenant
}

// warden returns the warden of a host. Entries of wildcards must be the ones of the
// next table.
func (b *Builder) warden(host string, wildcard func(suffix []byte) *entry) *warden {
	w := &warden{Builder: b, host: host}
	if strings.HasPrefix(host, "*") || b.options.SharedHosts {
		return w
	}
	if rest := parent([]byte(host)); rest != nil {
		if e := wildcard(rest); e != nil && len(e.holding.namespaces) == 1 && !e.tenants()[0].local {
			w.above = &e.tenants()[0]
		}
	}
	return w
}

// configured returns the holder of a host by the operator's configuration, nil when the
// configuration does not say: then the first namespace holds it.
func (b *Builder) configured(host string) *holding {
	if b.options.SharedHosts {
		return &holding{everybody: true}
	}
	for _, o := range []*owners{b.owners, b.shares} {
		if o == nil {
			continue
		}
		if namespaces, _ := o.of([]byte(host)); namespaces != nil {
			return &holding{namespaces: namespaces}
		}
	}
	return nil
}

// tenants returns the namespaces that claim the host, the holder first.
func (w *warden) tenants(routes []*Route) []tenant {
	var all []tenant
	at := make(map[string]int)
	add := func(t tenant) {
		i, known := at[t.namespace]
		if !known {
			at[t.namespace] = len(all)
			all = append(all, t)
			return
		}
		o := &all[i]
		o.local, o.instances = o.local || t.local, o.instances || t.instances
		if o.place = min(o.place, t.place); t.index < o.index {
			o.index, o.pattern = t.index, t.pattern
		}
	}
	for _, r := range routes {
		add(tenant{namespace: r.Namespace, local: r.local(), place: w.place(r), index: r.CreateIndex, instances: !r.Lingers(), pattern: w.host})
	}
	if w.above != nil {
		above := *w.above
		above.place = orLast(w.agreed.hostPlace(w.host, above.namespace))
		add(above)
	}
	slices.SortFunc(all, func(a, b tenant) int { return a.before(&b) })
	return all
}

func (w *warden) place(r *Route) int {
	if place := w.agreed.hostPlace(w.host, r.Namespace); place > 0 {
		return place
	}
	if w.agreed[hostContest(w.host)] != nil {
		return math.MaxInt
	}
	return orLast(w.agreed.heirPlace(r))
}

// orLast sorts a tenant without a position after all others.
func orLast(place int) int {
	if place == 0 {
		return math.MaxInt
	}
	return place
}

// split separates routes that may serve the host from routes of namespaces that may
// not.
func (w *warden) split(routes []*Route) (own []*Route, e entry) {
	_, wild := cutWildcard(w.host)
	if !wild && w.unanimous(routes) {
		e.holding = cmp.Or(w.configured(w.host), w.alone(routes[0].Namespace))
		return routes, e
	}
	d := &disputed{tenants: w.tenants(routes), recorded: w.agreed[hostContest(w.host)] != nil}
	e.disputed = d
	if e.holding = w.configured(w.host); e.holding == nil {
		e.holding = w.first(d.tenants)
	}
	for _, r := range routes {
		if e.holding.admits(r) {
			own = append(own, r)
		} else {
			d.foreign = append(d.foreign, r)
		}
	}
	slices.SortFunc(d.foreign, (*Route).nearer)
	return own, e
}

// unanimous reports whether all routes are of one namespace and no other one contests
// the host, as for most hosts.
func (w *warden) unanimous(routes []*Route) bool {
	for _, r := range routes {
		if r.Namespace != routes[0].Namespace {
			return false
		}
	}
	return w.above == nil || w.above.namespace == routes[0].Namespace
}

// simple reports whether a change of a host cannot change its holder, and neither adds
// nor removes routes of other namespaces.
func (w *warden) simple(e *entry, c *change) bool {
	if e.disputed != nil || e.holding == nil {
		return false
	}
	for _, r := range c.add {
		if !slices.Contains(e.holding.namespaces, r.Namespace) && !e.holding.everybody {
			return false
		}
	}
	return w.above == nil || e.holding.sole(w.above.namespace)
}

// first is the holding of the first tenant, and of all namespaces that the operator's
// file names.
func (w *warden) first(tenants []tenant) *holding {
	if len(tenants) == 1 || !tenants[1].local {
		return w.alone(tenants[0].namespace)
	}
	h := &holding{}
	for _, t := range tenants {
		if t.local {
			h.namespaces = append(h.namespaces, t.namespace)
		}
	}
	return h
}

// alone is the holding of one namespace. All its hosts share it.
func (w *warden) alone(namespace string) *holding {
	h := w.holdings[namespace]
	if h == nil {
		h = &holding{namespaces: []string{namespace}}
		w.holdings[namespace] = h
	}
	return h
}

// disown is the rejection of a route on a host of another namespace.
func (e *entry) disown(r *Route) Rejection {
	holder := e.holding.String()
	held := "host " + r.Host
	if of := e.tenants()[0].pattern; of != r.Host {
		held += ", which " + of + " covers,"
	}
	namespaces := append(slices.Clone(e.holding.namespaces), r.Namespace)
	for i, n := range namespaces {
		namespaces[i] = quote(n)
	}
	rejection := Rejection{
		Namespace: printable(r.Namespace), Service: printable(r.Service), Job: printable(r.Job), Route: r.Name,
		Hosts: []string{r.Host}, Holder: holder, Why: held + " is held by " + holder + ", which claimed it first",
		Instead: fmt.Sprintf("another host; the operator can share this one: share %q { namespaces = [%s] } in the file of --config", r.Host, strings.Join(namespaces, ", ")),
	}
	for _, m := range r.Pool.Members() {
		rejection.join(m.Alloc)
	}
	return rejection.ofDefault(r.DefaultHost)
}

// contest returns the contest of namespaces for the host, if there is one. Claims of
// the operator's file are not from Nomad and are not recorded.
func (e *entry) contest(host string) (c Contest, ok bool) {
	if len(e.foreign()) == 0 {
		return c, false
	}
	c.Name = hostContest(host)
	for _, t := range e.tenants() {
		if !t.local && len(c.Claimants) < maxClaimants {
			c.Claimants = append(c.Claimants, Claimant{Key: discovery.Key{Namespace: t.namespace, Name: everyTenant}, Instances: t.instances})
		}
	}
	return c, len(c.Claimants) > 1
}

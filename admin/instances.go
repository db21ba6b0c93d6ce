package admin

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"serai/internal/pace"
	"serai/router"
	"serai/upstream"
)

// Instance is one element of /instances.
type Instance struct {
	Address string `json:"address"`
	// Namespace, Service and ID are empty for an address that no route uses, because
	// all its claims are refused.
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	ID        string `json:"id"`
	Alloc     string `json:"alloc,omitempty"`
	Node      string `json:"node,omitempty"`
	// Routes are the hosts and paths that it serves.
	Routes []string `json:"routes"`
	State  string   `json:"state"`
	// Since is when the state began, Cause why the instance is not ready.
	Since time.Time `json:"since"`
	Cause string    `json:"cause,omitempty"`
	// Unfit says why it takes no requests whatever its state, as its source knows.
	Unfit    string `json:"unfit,omitempty"`
	Inflight int    `json:"inflight"`
	Idle     int    `json:"idle_connections"`
	Requests uint64 `json:"requests"`
	Failures uint64 `json:"failed_connects"`
	// LatencyMS is the moving average of the time to the first byte.
	LatencyMS float64 `json:"latency_ms"`
	// Problem is why the last connect failed, until one succeeds.
	Problem string `json:"problem,omitempty"`
	// ClosesIdleMS is the age at which the instance was seen to close idle connections.
	ClosesIdleMS float64 `json:"closes_idle_ms,omitempty"`
}

func (a *Admin) serveInstances(w http.ResponseWriter, r *http.Request) {
	q, ok := parameters(w, r, "namespace", "service")
	if !ok {
		return
	}
	serveList(a, w, r, func() (int, iter.Seq[*Instance]) {
		all := a.instances()
		if s := selected(q); s != (selection{}) {
			all = slices.Collect(taken(all, func(i *instance) bool { return s.takes(i.namespace, i.service) }))
		}
		return entryBytes * len(all), func(yield func(*Instance) bool) {
			for _, i := range all {
				if !yield(i.describe()) {
					return
				}
			}
		}
	})
}

// instance is an Instance before it is described: of many thousands most are not asked for.
type instance struct {
	endpoint                            *upstream.Endpoint
	namespace, service, id, alloc, node string
	address, unfit                      string
	routes                              []string
}

// listing is the instances of a table's routes, and the endpoints that no route uses, which are looked at again and
// again while a page is followed.
type listing struct {
	table *router.Table
	known []*upstream.Endpoint // all that there were
	list  []*instance          // those of no service first, then sorted by service and address; never modified
	asked time.Time
}

// listingKept is how long a listing that nobody asks for is kept: it takes megabytes of a
// large cluster.
const listingKept = 30 * time.Second

// instances returns the members of all routes, and the endpoints that no route uses, sorted by service and address.
// Nobody modifies the list. It is called by whoever has the gate's turn.
func (a *Admin) instances() []*instance {
	table, all := a.options.Router.Current(), a.options.Registry.All()
	l := a.listed.Load()
	if l == nil || l.table != table || len(l.known) != len(all) || len(all) > 0 && &l.known[0] != &all[0] {
		l = newListing(table, all)
	}
	a.listed.Store(&listing{l.table, l.known, l.list, time.Now()})
	return l.list
}

// forgetListing gives the memory back that a listing takes, when nobody has asked for it lately.
func (a *Admin) forgetListing() {
	if l := a.listed.Load(); l != nil && time.Since(l.asked) > listingKept {
		a.listed.CompareAndSwap(l, nil)
	}
}

func newListing(table *router.Table, all []*upstream.Endpoint) *listing {
	type identity struct {
		endpoint               *upstream.Endpoint
		namespace, service, id string
	}
	used := make(map[*upstream.Endpoint]struct{})
	byIdentity := make(map[identity]*instance)
	var list []*instance
	var p pace.Pace
	for _, r := range table.Routes() {
		for _, m := range r.Pool.Members() {
			p.Step()
			key := identity{m.Endpoint, r.Namespace, r.Service, m.ID}
			i := byIdentity[key]
			if i == nil {
				i = &instance{m.Endpoint, r.Namespace, r.Service, m.ID, m.Alloc, m.Node, m.Endpoint.Target().Address, m.Unfit, nil}
				byIdentity[key], used[m.Endpoint] = i, struct{}{}
				list = append(list, i)
			}
			i.routes = append(i.routes, r.Host+r.Path)
		}
	}
	for _, e := range all {
		p.Step()
		if _, isUsed := used[e]; !isUsed {
			list = append(list, &instance{endpoint: e, id: e.Target().Instance, address: e.Target().Address, routes: []string{}})
		}
	}
	slices.SortFunc(list, func(a, b *instance) int {
		p.Step()
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.service, b.service),
			strings.Compare(a.address, b.address), strings.Compare(a.id, b.id))
	})
	return &listing{table: table, known: all, list: list}
}

// describe looks at the instance's state.
func (i *instance) describe() *Instance {
	d := newInstance(i.endpoint.Status())
	d.Namespace, d.Service, d.ID, d.Alloc, d.Node, d.Routes, d.Unfit = i.namespace, i.service, i.id, i.alloc, i.node, i.routes, i.unfit
	return d
}

func newInstance(s upstream.EndpointStatus) *Instance {
	return &Instance{
		Address: s.Target.Address, State: s.State.String(), Since: s.Since, Cause: s.Cause,
		Inflight: s.Inflight, Idle: s.Idle, Requests: s.Requests, Failures: s.Failures,
		LatencyMS: float64(s.Latency.Microseconds()) / 1000, Problem: s.Problem,
		ClosesIdleMS: float64(s.ClosesIdle.Microseconds()) / 1000,
	}
}

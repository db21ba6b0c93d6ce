package admin

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

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
	Since    time.Time `json:"since"`
	Cause    string    `json:"cause,omitempty"`
	Inflight int       `json:"inflight"`
	Idle     int       `json:"idle_connections"`
	Requests uint64    `json:"requests"`
	Failures uint64    `json:"failed_connects"`
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
	answerList(w, func(yield func(*Instance) bool) {
		for _, i := range a.instances(selected(q)) {
			if !yield(i.describe()) {
				return
			}
		}
	})
}

// instance is an Instance before it is described: of many thousands most are not asked for.
type instance struct {
	endpoint                            *upstream.Endpoint
	namespace, service, id, alloc, node string
	address                             string
	routes                              []string
}

// instances returns the members of all routes, and the endpoints that no route
// uses, sorted by service and address.
func (a *Admin) instances(s selection) []*instance {
	type identity struct {
		endpoint               *upstream.Endpoint
		namespace, service, id string
	}
	all := a.options.Registry.All()
	most := len(all)
	if s != (selection{}) {
		most = 0 // few, as a rule
	}
	byIdentity := make(map[identity]*instance, most)
	used := make(map[*upstream.Endpoint]bool, most)
	list := make([]*instance, 0, most)
	for _, r := range a.options.Router.Current().Routes() {
		if !s.takes(r.Namespace, r.Service) {
			continue
		}
		for _, m := range r.Pool.Members() {
			key := identity{m.Endpoint, r.Namespace, r.Service, m.ID}
			i := byIdentity[key]
			if i == nil {
				i = &instance{m.Endpoint, r.Namespace, r.Service, m.ID, m.Alloc, m.Node, m.Endpoint.Target().Address, nil}
				byIdentity[key], used[m.Endpoint] = i, true
				list = append(list, i)
			}
			i.routes = append(i.routes, r.Host+r.Path)
		}
	}
	if s == (selection{}) {
		for _, e := range all {
			if !used[e] {
				list = append(list, &instance{endpoint: e, id: e.Target().Instance, address: e.Target().Address, routes: []string{}})
			}
		}
	}
	slices.SortFunc(list, func(a, b *instance) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.service, b.service),
			strings.Compare(a.address, b.address), strings.Compare(a.id, b.id))
	})
	return list
}

// describe looks at the instance's state.
func (i *instance) describe() *Instance {
	d := newInstance(i.endpoint.Status())
	d.Namespace, d.Service, d.ID, d.Alloc, d.Node, d.Routes = i.namespace, i.service, i.id, i.alloc, i.node, i.routes
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

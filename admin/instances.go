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
	list := a.instances(selected(q))
	answerList(w, slices.Values(list))
}

// instances returns the members of all routes, and the endpoints that no route
// uses, sorted by service and address.
func (a *Admin) instances(s selection) []*Instance {
	type identity struct {
		endpoint               *upstream.Endpoint
		namespace, service, id string
	}
	byIdentity := make(map[identity]*Instance)
	used := make(map[upstream.Target]bool)
	var list []*Instance
	for _, r := range a.options.Router.Current().Routes() {
		if !s.takes(r.Namespace, r.Service) {
			continue
		}
		for _, m := range r.Pool.Members() {
			key := identity{m.Endpoint, r.Namespace, r.Service, m.ID}
			i := byIdentity[key]
			if i == nil {
				i = newInstance(m.Endpoint.Status())
				i.Namespace, i.Service, i.ID, i.Alloc, i.Node = r.Namespace, r.Service, m.ID, m.Alloc, m.Node
				byIdentity[key], used[m.Endpoint.Target()] = i, true
				list = append(list, i)
			}
			i.Routes = append(i.Routes, r.Host+r.Path)
		}
	}
	if s == (selection{}) {
		for _, e := range a.options.Registry.Endpoints() {
			if !used[e.Target] {
				i := newInstance(e)
				i.ID, i.Routes = e.Target.Instance, []string{}
				list = append(list, i)
			}
		}
	}
	slices.SortFunc(list, func(a, b *Instance) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Service, b.Service),
			strings.Compare(a.Address, b.Address), strings.Compare(a.ID, b.ID))
	})
	return list
}

func newInstance(s upstream.EndpointStatus) *Instance {
	return &Instance{
		Address: s.Target.Address, State: s.State.String(), Since: s.Since, Cause: s.Cause,
		Inflight: s.Inflight, Idle: s.Idle, Requests: s.Requests, Failures: s.Failures,
		LatencyMS: float64(s.Latency.Microseconds()) / 1000, Problem: s.Problem,
		ClosesIdleMS: float64(s.ClosesIdle.Microseconds()) / 1000,
	}
}

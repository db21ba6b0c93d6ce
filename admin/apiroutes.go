package admin

import (
	"cmp"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"

	"serai/internal/pace"
	"serai/router"
)

// RouteTraffic is a Route with the traffic that it has.
type RouteTraffic struct {
	Route
	// Traffic is that of all routes of the service with the same name.
	Traffic Traffic `json:"traffic"`
}

// Traffic counts the requests of a route.
type Traffic struct {
	// Requests and Errors, which are answers of 5xx, count since the start.
	Requests uint64 `json:"requests"`
	Errors   uint64 `json:"errors"`
	Inflight int64  `json:"in_flight"`
	Rate
}

func trafficOf(s *router.Stats, rates map[*router.Stats]Rate) Traffic {
	c, flying := countsOf(s)
	return Traffic{Requests: c.requests, Errors: c.errors, Inflight: flying, Rate: rates[s]}
}

// matching reports whether one of the texts contains what ?q= says, in any case.
func matching(q string, texts ...string) bool {
	if q == "" {
		return true
	}
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), q) })
}

func (a *Admin) apiRoutes() query {
	return query{names: []string{"q", "host", "path", "namespace", "service", "route", "sort", "limit", "offset"}, answer: func(_ *http.Request, q values) (any, error) {
		return a.routesOf(q)
	}}
}

// routesOf returns the routes that a query selects.
func (a *Admin) routesOf(q values) (List[RouteTraffic], error) {
	words := router.NewWords()
	return routesAs(a, q, func(r *router.Route, t Traffic) RouteTraffic { return RouteTraffic{describe(r, words), t} })
}

// routesAs returns the routes that a query selects, each as described.
func routesAs[T any](a *Admin, q values, describe func(*router.Route, Traffic) T) (List[T], error) {
	w, err := windowOf(q)
	if err != nil {
		return List[T]{}, err
	}
	rates := a.pulse.all()
	all, takes := a.options.Router.Current().Routes(), routesTaken(q)
	var p pace.Pace
	// A route that is not called has no place among the busiest: the order stays that of hosts.
	by := func(value func(Rate) float64) {
		if takes == nil {
			all = slices.Clone(all)
		} else {
			all = slices.Collect(taken(all, takes))
			takes = nil
		}
		slices.SortStableFunc(all, func(a, b *router.Route) int {
			p.Step()
			return cmp.Compare(value(rates[b.Stats]), value(rates[a.Stats]))
		})
	}
	switch q.Get("sort") {
	case "", "host":
	case "rate":
		by(func(r Rate) float64 { return r.Requests })
	case "errors":
		by(func(r Rate) float64 { return r.Errors })
	case "latency":
		by(func(r Rate) float64 { return r.P99 })
	default:
		return List[T]{}, errors.New("sort must be host, rate, errors or latency")
	}
	return pageOf(all, takes, w, func(r *router.Route) T { return describe(r, trafficOf(r.Stats, rates)) }), nil
}

// taken goes through those that are taken, all without takes.
func taken[T any](all []T, takes func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for v := range paced(slices.Values(all)) {
			if (takes == nil || takes(v)) && !yield(v) {
				return
			}
		}
	}
}

// routesTaken returns what tells whether a query selects a route; nil when it selects all.
func routesTaken(q values) func(*router.Route) bool {
	s, host, text := selected(q.Values), q.Get("host"), strings.ToLower(q.Get("q"))
	if s == (selection{}) && host == "" && text == "" && !q.Has("route") && !q.Has("path") {
		return nil
	}
	if normal := router.AppendHost(nil, []byte(host)); len(normal) > 0 {
		host = string(normal)
	}
	return func(r *router.Route) bool {
		return s.takes(r.Namespace, r.Service) && (host == "" || host == r.Host) && (!q.Has("route") || q.Get("route") == r.Name) &&
			(!q.Has("path") || q.Get("path") == r.Path) &&
			(matching(text, r.Host, r.Path, r.Service, r.Namespace) || strings.Contains(text, "/") && matching(text, r.Host+r.Path))
	}
}

func (a *Admin) apiInstances() query {
	return query{names: []string{"q", "namespace", "service", "state", "limit", "offset"}, answer: func(_ *http.Request, q values) (any, error) {
		return a.instancesOf(q)
	}}
}

// instancesOf returns the instances that a query selects.
func (a *Admin) instancesOf(q values) (List[*Instance], error) {
	w, err := windowOf(q)
	text, state := strings.ToLower(q.Get("q")), q.Get("state")
	if err == nil && state != "" && !slices.Contains(stateNames, state) {
		err = errors.New("state must be one of: " + strings.Join(stateNames, ", "))
	}
	if err != nil {
		return List[*Instance]{}, err
	}
	var takes func(*instance) bool // nil for all
	if s := selected(q.Values); s != (selection{}) || state != "" || text != "" {
		takes = func(i *instance) bool {
			return s.takes(i.namespace, i.service) && (state == "" || state == i.endpoint.State().String()) && matching(text, i.service, i.namespace, i.address, i.alloc, i.node)
		}
	}
	page := pageOf(a.instances(), takes, w, (*instance).describe)
	if state != "" { // one that has changed since it was selected is not listed with another state
		page.Items = slices.DeleteFunc(page.Items, func(i *Instance) bool { return i.State != state })
	}
	return page, nil
}

// stateNames are the states of instances.
var stateNames = []string{"ready", "probing", "ejected", "leaving"}

func (a *Admin) apiRejections() query {
	return query{names: []string{"q", "namespace", "service", "limit", "offset"}, answer: func(_ *http.Request, q values) (any, error) {
		return a.rejectionsOf(q)
	}}
}

// rejectionsOf returns the rejections that a query selects.
func (a *Admin) rejectionsOf(q values) (List[router.Rejection], error) {
	w, err := windowOf(q)
	if err != nil {
		return List[router.Rejection]{}, err
	}
	s, text := selected(q.Values), strings.ToLower(q.Get("q"))
	var takes func(router.Rejection) bool // nil for all
	if s != (selection{}) || text != "" {
		takes = func(r router.Rejection) bool {
			return s.takes(r.Namespace, r.Service) && matching(text, r.Namespace+"/"+r.Service, r.Job, r.Tag, r.Why, strings.Join(r.Hosts, " "))
		}
	}
	return pageOf(a.options.Router.Current().Rejections(), takes, w, func(r router.Rejection) router.Rejection { return r }), nil
}

func (a *Admin) apiCertificates() query {
	return query{prepare: a.certificatesOf}
}

func (a *Admin) apiTraffic() query {
	return query{answer: func(*http.Request, values) (any, error) { return a.traffic(), nil }}
}

// RecentTraffic is the traffic of the last ten minutes.
type RecentTraffic struct {
	Samples []Sample `json:"samples"`
}

func (a *Admin) traffic() RecentTraffic { return RecentTraffic{a.pulse.recent()} }

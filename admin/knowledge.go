package admin

import (
	"net/http"
	"strings"
	"time"

	"serai/router"
	"serai/upstream"
)

// Route is one line of /routes.
type Route struct {
	Host       string   `json:"host"`
	Path       string   `json:"path"`
	Exact      bool     `json:"exact,omitempty"`
	Conditions []string `json:"conditions,omitempty"`
	Priority   int      `json:"priority,omitempty"`
	Namespace  string   `json:"namespace"`
	Service    string   `json:"service"`
	Route      string   `json:"route,omitempty"`
	Job        string   `json:"job,omitempty"`
	Redirect   string   `json:"redirect,omitempty"`
	TLS        string   `json:"tls"`
	Wait       string   `json:"wait"`
	Timeout    string   `json:"timeout"`
	Retries    int      `json:"retries"`
	// CreateIndex is the age of the claim.
	CreateIndex uint64 `json:"create_index"`
	// Expires is when the route goes unless an instance comes.
	Expires time.Time `json:"expires,omitzero"`
	Members []Member  `json:"members"`
}

// Member is an instance of a route.
type Member struct {
	Address string `json:"address"`
	Alloc   string `json:"alloc,omitempty"`
	Node    string `json:"node,omitempty"`
	State   string `json:"state"`
	Weight  int    `json:"weight"`
	Canary  bool   `json:"canary,omitempty"`
	Strip   string `json:"strip,omitempty"`
}

// selects reports whether a query asks for something of a service.
func selects(r *http.Request, namespace, service string) bool {
	q := r.URL.Query()
	return (q.Get("namespace") == "" || q.Get("namespace") == namespace) && (q.Get("service") == "" || q.Get("service") == service)
}

func (a *Admin) routes(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(r.URL.Query().Get("host"))
	list := []Route{}
	for _, route := range a.options.Router.Current().Routes() {
		if selects(r, route.Namespace, route.Service) && (host == "" || host == route.Host) {
			list = append(list, describe(route))
		}
	}
	answer(w, http.StatusOK, list)
}

func describe(r *router.Route) Route {
	d := Route{
		Host: r.Host, Path: r.Path, Exact: r.Exact, Priority: r.Priority, Namespace: r.Namespace, Service: r.Service,
		Route: r.Name, Job: r.Job, TLS: r.Options.TLS.String(), Wait: r.Options.Wait.String(),
		Timeout: r.Options.Timeout.String(), Retries: r.Options.Retries, CreateIndex: r.CreateIndex, Expires: r.Expires, Members: []Member{},
	}
	for _, c := range r.Conditions {
		d.Conditions = append(d.Conditions, c.String())
	}
	if r.Options.Redirect != nil {
		d.Redirect = r.Options.Redirect.String()
	}
	for _, m := range r.Pool.Members() {
		d.Members = append(d.Members, Member{
			Address: m.Endpoint.Target().Address, Alloc: m.Alloc, Node: m.Node, State: m.Endpoint.State().String(),
			Weight: m.Weight, Canary: m.Canary != nil, Strip: m.Strip,
		})
	}
	return d
}

// Instance is one line of /instances.
type Instance struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	ID        string `json:"id"`
	Alloc     string `json:"alloc,omitempty"`
	Node      string `json:"node,omitempty"`
	// Routes are the hosts and paths that it serves.
	Routes []string  `json:"routes"`
	State  string    `json:"state"`
	Since  time.Time `json:"since"`
	// Cause is why it is not ready.
	Cause    string `json:"cause,omitempty"`
	Inflight int    `json:"inflight"`
	Idle     int    `json:"idle_connections"`
	Requests uint64 `json:"requests"`
	Failures uint64 `json:"failed_connects"`
	// LatencyMS is the moving average of the time to the first byte.
	LatencyMS float64 `json:"latency_ms"`
}

func (a *Admin) instances(w http.ResponseWriter, r *http.Request) {
	type identity struct {
		endpoint               *upstream.Endpoint
		namespace, service, id string
	}
	at := make(map[identity]int)
	list := []Instance{}
	for _, route := range a.options.Router.Current().Routes() {
		if !selects(r, route.Namespace, route.Service) {
			continue
		}
		for _, m := range route.Pool.Members() {
			key := identity{m.Endpoint, route.Namespace, route.Service, m.ID}
			i, ok := at[key]
			if !ok {
				s := m.Endpoint.Status()
				i = len(list)
				at[key] = i
				list = append(list, Instance{
					Address: s.Target.Address, Namespace: route.Namespace, Service: route.Service, ID: m.ID, Alloc: m.Alloc,
					Node: m.Node, State: s.State.String(), Since: s.Since, Cause: s.Cause, Inflight: s.Inflight, Idle: s.Idle,
					Requests: s.Requests, Failures: s.Failures, LatencyMS: float64(s.Latency.Microseconds()) / 1000,
				})
			}
			list[i].Routes = append(list[i].Routes, route.Host+route.Path)
		}
	}
	answer(w, http.StatusOK, list)
}

func (a *Admin) rejections(w http.ResponseWriter, r *http.Request) {
	list := []router.Rejection{}
	for _, rejection := range a.options.Router.Current().Rejections() {
		if selects(r, rejection.Namespace, rejection.Service) {
			list = append(list, rejection)
		}
	}
	answer(w, http.StatusOK, list)
}

func (a *Admin) explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	host, path, query := q.Get("host"), q.Get("path"), q.Get("query")
	if path, query, _ = cutQuery(path, query); path == "" {
		path = "/"
	}
	if host == "" || path[0] != '/' {
		answer(w, http.StatusBadRequest, map[string]string{
			"error": "want ?host=NAME, and &path=/PATH, &method=GET, &query=a=1, &header=Name:Value as far as they matter",
		})
		return
	}
	headers, err := parseHeaders(q["header"])
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	method := q.Get("method")
	if method == "" {
		method = "GET"
	}
	answer(w, http.StatusOK, a.options.Router.Current().Explain(&router.Query{
		Host: []byte(host), Method: []byte(method), Path: []byte(path), RawQuery: []byte(query), Attributes: headers,
	}))
}

// cutQuery takes a path that was pasted with its query apart.
func cutQuery(path, query string) (string, string, bool) {
	p, q, found := strings.Cut(path, "?")
	if found && query == "" {
		return p, q, true
	}
	return path, query, false
}

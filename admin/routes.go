package admin

import (
	"iter"
	"net/http"
	"time"

	"serai/router"
	"serai/upstream"
)

// Route is one element of /routes.
type Route struct {
	Host       string   `json:"host"`
	Path       string   `json:"path"`
	Exact      bool     `json:"exact"`
	Conditions []string `json:"conditions,omitempty"`
	Priority   int      `json:"priority"`
	Namespace  string   `json:"namespace"`
	Service    string   `json:"service"`
	// Route is the route's name, empty for the unnamed one.
	Route string `json:"route"`
	Job   string `json:"job,omitempty"`
	// Options are the values of its tags, with defaults. Policies are those of the
	// operator's file that it has, and what all its policies do.
	Options  map[string]string    `json:"options"`
	Policies []router.NamedPolicy `json:"policies,omitempty"`
	Does     []string             `json:"does,omitempty"`
	// Closed says that every request is answered 503 guard-refused: a guard of the route
	// is refused, or leads nowhere. The rejections say why.
	Closed  bool     `json:"closed,omitempty"`
	Members []Member `json:"members"`
	// Lingers says that the last instance has gone, and that requests wait for the next
	// one until the route Expires.
	Lingers bool      `json:"lingers,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	// DefaultHost says that no tag names the host: it is by --default-host.
	DefaultHost bool `json:"default_host,omitempty"`
	// CreateIndex is the age of the claim.
	CreateIndex uint64 `json:"create_index"`
}

// Member is an instance that gets a route's requests.
type Member struct {
	Address string `json:"address"`
	Alloc   string `json:"alloc,omitempty"`
	Node    string `json:"node,omitempty"`
	State   string `json:"state"`
	Weight  int    `json:"weight"`
	// Canary says which requests it gets, empty for an ordinary member.
	Canary string `json:"canary,omitempty"`
	// Options are the values of its own tags, without defaults.
	Options map[string]string `json:"options,omitempty"`
}

func (a *Admin) serveRoutes(w http.ResponseWriter, r *http.Request) {
	q, ok := parameters(w, r, "host", "namespace", "service")
	if !ok {
		return
	}
	s, host := selected(q), q.Get("host")
	if normal := router.AppendHost(nil, []byte(host)); len(normal) > 0 {
		host = string(normal)
	}
	serveList(a, w, r, func() (int, iter.Seq[Route]) {
		all, words := a.options.Router.Current().Routes(), router.NewWords()
		return entryBytes * len(all), func(yield func(Route) bool) {
			for _, r := range all {
				if s.takes(r.Namespace, r.Service) && (host == "" || host == r.Host) && !yield(describe(r, words)) {
					return
				}
			}
		}
	})
}

func describe(r *router.Route, words *router.Words) Route {
	d := Route{
		Host: r.Host, Path: r.Path, Exact: r.Exact, Priority: r.Priority,
		Namespace: r.Namespace, Service: r.Service, Route: r.Name, Job: r.Job,
		Options: words.Route(r.Options), Policies: r.Named(), Closed: r.Options.Closed, Members: []Member{},
		Conditions: conditionsOf(r), Lingers: r.Lingers(), Expires: r.Expires, CreateIndex: r.CreateIndex, DefaultHost: r.DefaultHost,
	}
	if d.Policies != nil {
		d.Does = r.ExplainPolicies()
	}
	members := r.Pool.Members()
	for i := range members {
		d.Members = append(d.Members, describeMember(members[i], words))
	}
	return d
}

func conditionsOf(r *router.Route) (all []string) {
	for _, c := range r.Conditions {
		all = append(all, c.String())
	}
	return all
}

func describeMember(m *upstream.Member, words *router.Words) Member {
	d := Member{
		Address: m.Endpoint.Target().Address, Alloc: m.Alloc, Node: m.Node, State: m.Endpoint.State().String(),
		Weight: m.Weight, Options: words.Member(m),
	}
	if m.Canary != nil {
		d.Canary = m.Canary.String()
	}
	return d
}

func (a *Admin) serveRejections(w http.ResponseWriter, r *http.Request) {
	q, ok := parameters(w, r, "namespace", "service")
	if !ok {
		return
	}
	s := selected(q)
	serveList(a, w, r, func() (int, iter.Seq[router.Rejection]) {
		all := a.options.Router.Current().Rejections()
		return rejectionBytes * len(all), func(yield func(router.Rejection) bool) {
			for _, r := range all {
				if s.takes(r.Namespace, r.Service) && !yield(r) {
					return
				}
			}
		}
	})
}

// rejectionBytes is about what a rejection takes, with its texts.
const rejectionBytes = 1 << 10

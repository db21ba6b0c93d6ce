package admin

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"serai/admin/ui"
	"serai/internal/history"
	"serai/router"
	"serai/upstream"
)

// dashboard serves the pages. What they show is what the API answers.
type dashboard struct {
	*Admin
	pages *ui.Pages
}

// register adds the pages to a mux.
func (d *dashboard) register(mux *http.ServeMux) {
	for name, of := range map[string]struct {
		title string
		data  query
	}{
		"overview": {"Overview", query{answer: d.overview}}, "routes": {"Routes", query{answer: d.routes}}, "route": {"Route", query{answer: d.route}},
		"instances": {"Instances", query{answer: d.instanceList}}, "rejections": {"Rejections", query{answer: d.rejections}},
		"events": {"Events", query{answer: d.eventList}}, "explain": {"Explain", query{answer: d.explain}},
		"certificates": {"Certificates", d.apiCertificates()},
	} {
		mux.HandleFunc("/ui/"+name, d.page(name, of.title, of.data))
	}
	mux.Handle("/ui/static/", ui.Static("/ui/static/"))
	mux.HandleFunc("/ui/{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ui/overview", http.StatusFound) })
}

// page serves one page, or with ?follow=1 its changes.
func (d *dashboard) page(name, title string, data query) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			http.Error(w, "the query cannot be read: "+err.Error(), http.StatusBadRequest)
			return
		}
		q.Del("follow")
		// prepare returns what makes the page when its turn has come.
		prepare := func(render func(*ui.Page) ([]byte, error)) func() []byte {
			content := data.of(r, values{q})
			return func() []byte {
				p := &ui.Page{Name: name, Title: title, Serai: d.options.Name, Version: d.options.Version, Query: q}
				if name == "route" && q.Get("host") != "" {
					p.Title = q.Get("host") + q.Get("path")
				}
				v, err := content()
				if p.Data = v; err != nil {
					p.Problem = err.Error()
				}
				text, err := render(p)
				if err != nil {
					d.options.Logger.Error("a page cannot be shown", "page", name, "error", err)
				}
				return text
			}
		}
		if follows(r) {
			d.stream(w, r, r.URL.Path+"?"+q.Encode(), pageBeat, func() func() []byte {
				part := prepare(d.pages.Part)
				return func() []byte { return compact(string(part())) }
			})
			return
		}
		makes := prepare(d.pages.Whole)
		switch text, ok := admit(d.gate, w, r, func() ([]byte, int64) { text := makes(); return text, int64(cap(text)) }); {
		case !ok:
		case text == nil:
			http.Error(w, "this page cannot be shown: the log says why", http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Write(text)
		}
	}
}

// overview is the first page.
func (d *dashboard) overview(*http.Request, values) (any, error) {
	v := struct {
		Status                     Status
		State                      string
		Requests, Errors, P50, P99 []float64
		Events                     []*history.Event
	}{Status: d.status(), State: "ready", Events: d.newest(eventQuery{limit: 12})}
	switch {
	case v.Status.Readiness.Draining:
		v.State = "draining"
	case !v.Status.Readiness.Ready:
		v.State = "not ready"
	}
	for _, s := range d.pulse.recent() {
		v.Requests, v.Errors = append(v.Requests, s.Rate.Requests), append(v.Errors, s.Rate.Errors)
		v.P50, v.P99 = append(v.P50, s.P50), append(v.P99, s.P99)
	}
	return v, nil
}

// listed is one page of a list, with what leads to the others.
type listed[T any] struct {
	List   List[T]
	Sort   string
	Sorts  []string
	Paging paging
}

// paging is what the links between the pages of a list need.
type paging struct {
	Page *ui.Page
	List struct{ First, Offset, End, Total, Next, Before int }
}

func newListed[T any](l List[T], q values, sort string, sorts ...string) *listed[T] {
	p := paging{Page: &ui.Page{Query: q.Values}}
	w, _ := windowOf(q)
	p.List.First, p.List.Offset, p.List.End, p.List.Total, p.List.Next, p.List.Before = l.Offset+1, l.Offset, l.Offset+len(l.Items), l.Total, l.Next, max(0, l.Offset-max(1, w.limit))
	return &listed[T]{l, sort, sorts, p}
}

// shownRoute is a route in the list of them, as it is shown. Whatever a template calls, finds in an embedded struct or
// escapes takes most of the time of a page, and makes most of its garbage: the texts are made here.
type shownRoute struct {
	Link, Name, Owner, Route string // Name is the host and the path, Owner the namespace and the service

	Exact, Closed, Lingers bool
	Conditions             []string
	Ready                  string // "2 of 3"
	Share                  int    // of the ready instances, in fortieths
	Requests, Errors, P99  string
	Bad                    bool // there are errors
	Inflight               int64
}

func showRoute(r *router.Route, t Traffic) shownRoute {
	s := shownRoute{
		Link: ui.URL("/ui/route", "host", r.Host, "path", r.Path, "namespace", r.Namespace, "service", r.Service, "route", r.Name), Name: r.Host + r.Path,
		Owner: r.Namespace + "/" + r.Service, Route: r.Name, Exact: r.Exact, Closed: r.Options.Closed, Lingers: r.Lingers(), Conditions: conditionsOf(r),
		Requests: ui.Rate(t.Rate.Requests), Errors: ui.Rate(t.Rate.Errors), P99: ui.Millis(t.P99), Bad: t.Rate.Errors > 0, Inflight: t.Inflight,
	}
	ready, all := 0, r.Pool.Members()
	for _, m := range all {
		if m.Endpoint.State() == upstream.Ready {
			ready++
		}
	}
	s.Ready, s.Share = fmt.Sprintf("%d of %d", ready, len(all)), 40*ready/max(1, len(all))
	return s
}

func (d *dashboard) routes(_ *http.Request, q values) (any, error) {
	l, err := routesAs(d.Admin, q, showRoute)
	sort := q.Get("sort")
	if sort == "" {
		sort = "host"
	}
	return newListed(l, q, sort, "host", "rate", "errors", "latency"), err
}

// pooled is an instance of a route.
type pooled struct {
	*Instance
	Weight int
	Canary string
}

func (d *dashboard) route(_ *http.Request, q values) (any, error) {
	type routed struct {
		RouteTraffic
		Pool []pooled
	}
	var v struct {
		Routes []routed
		Events []*history.Event
	}
	words, rates := router.NewWords(), d.pulse.all()
	for r := range taken(d.options.Router.Current().Routes(), routesTaken(q)) {
		one := routed{RouteTraffic: RouteTraffic{describe(r, words), trafficOf(r.Stats, rates)}}
		for i, m := range r.Pool.Members() {
			instance := newInstance(m.Endpoint.Status())
			instance.Alloc, instance.Unfit = m.Alloc, m.Unfit
			one.Pool = append(one.Pool, pooled{instance, m.Weight, one.Members[i].Canary})
		}
		v.Routes = append(v.Routes, one)
		if len(v.Routes) == 16 {
			break // conditions alone distinguish them
		}
	}
	v.Events = d.newest(eventQuery{selection: selected(q.Values), limit: 12})
	return v, nil
}

func (d *dashboard) instanceList(_ *http.Request, q values) (any, error) {
	l, err := d.instancesOf(q)
	state := q.Get("state")
	if state == "" {
		state = "all"
	}
	return newListed(l, q, state, append([]string{"all"}, stateNames...)...), err
}

func (d *dashboard) rejections(_ *http.Request, q values) (any, error) {
	l, err := d.rejectionsOf(q)
	return newListed(l, q, ""), err
}

func (d *dashboard) eventList(r *http.Request, q values) (any, error) {
	e, err := eventQueryOf(r, q)
	if err != nil {
		return nil, err
	}
	if e.limit == 0 {
		e.limit = 500
	}
	return d.newest(e), nil
}

// explain shows an explanation once there is a host.
func (d *dashboard) explain(_ *http.Request, q values) (any, error) {
	if q.Get("host") == "" {
		return nil, nil
	}
	asked := maps.Clone(q.Values)
	maps.DeleteFunc(asked, func(_ string, v []string) bool { return len(v) == 0 || v[0] == "" })
	x, err := d.explanation(asked)
	if err != nil {
		return nil, err
	}
	return x, nil
}

package router

import (
	"slices"
	"strings"

	"serai/discovery"
	"serai/policy"
)

// A route may show the pages of another service in place of its errors. A table has the
// routes of such services by their name, since a page is asked for with no host: whatever
// host its service has serves for that. So it has those of services that auths ask.

// pagesOf returns the services that have error pages for routes.
func pagesOf(routes []*Route) (keys []discovery.Key) {
	var last *Common
	for _, r := range routes {
		if r.Common == last {
			continue
		}
		last = r.Common
		if e := r.Policies.Pages(); e != nil {
			if key := r.pagesOf(e); !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// pagesOf returns the service that has the route's pages.
func (r *Route) pagesOf(e *policy.Errors) discovery.Key {
	key := discovery.Key{Namespace: e.Namespace, Name: e.Service}
	if key.Namespace == "" {
		key.Namespace = r.Namespace
	}
	if key.Name == "" {
		key.Name = r.Service
	}
	return key
}

// notePages notes a service whose routes change, and those with pages for it.
func (b *Builder) notePages(u *update, key discovery.Key, old, next []discovery.Key) {
	u.pages[key] = true
	for _, of := range old {
		if b.paging[of]--; b.paging[of] == 0 {
			delete(b.paging, of)
		}
		u.pages[of] = true
	}
	for _, of := range next {
		b.paging[of]++
		u.pages[of] = true
	}
}

// settlePages returns the routes of services with pages after a change.
func (b *Builder) settlePages(u *update, last *index[[]*Route]) *index[[]*Route] {
	pages := last.edit()
	for key := range u.pages {
		name := pagesKey(key)
		s := b.services[key]
		switch {
		case (b.paging[key] > 0 || b.questioned[key]) && s != nil && len(s.routes) > 0:
			routes := slices.Clone(s.routes)
			slices.SortFunc(routes, func(x, y *Route) int {
				if c := strings.Compare(x.Host, y.Host); c != 0 {
					return c
				}
				return x.nearer(y)
			})
			pages.set(name, routes, true)
		case pages.get([]byte(name)) != nil:
			pages.set(name, nil, false)
		}
	}
	return pages.done()
}

func pagesKey(key discovery.Key) string { return key.Namespace + "/" + key.Name }

// NoPage says why a page cannot be asked for.
type NoPage string

// The reasons.
const (
	NoPageService NoPage = "no such service is known"
	NoPagePath    NoPage = "no route of that service, with an instance, takes the path"
	NoPageGuarded NoPage = "the route of that service that takes the path has a guard, which the request has not passed"
)

// PageRoute returns the route through which a page for r is asked for, as q describes
// the request for it, or why there is none. Passed are the policies whose guards the
// client has passed, nil for none: a page is for nobody who could not ask for it as well.
//
// Of each host that the service claims the nearest route takes the page, as it would take
// a client's request. What redirects it does not matter, since nobody is redirected.
func (t *Table) PageRoute(r *Route, e *policy.Errors, q *Query, passed *policy.List) (*Route, NoPage) {
	key := r.pagesOf(e)
	routes := t.pages.get([]byte(pagesKey(key)))
	if len(routes) == 0 {
		return nil, NoPageService
	}
	why, host := NoPagePath, ""
	for _, r := range routes {
		if r.Host == host || r.Lingers() || !takesPath(r.Path, r.Exact, q.Path) || !met(r.Conditions, q) {
			continue
		}
		if host = r.Host; r.Policies.OpenTo(passed) {
			return r, ""
		}
		why = NoPageGuarded
	}
	return nil, why
}

// explainPages says of a route why its error pages cannot be had, to a client that has
// passed its guards; empty if they can.
func (t *Table) explainPages(r *Route) string {
	e := r.Policies.Pages()
	if e == nil {
		return ""
	}
	path, query, _ := strings.Cut(string(e.AppendTarget(nil, 500)), "?")
	_, why := t.PageRoute(r, e, &Query{Method: []byte("GET"), Path: []byte(path), RawQuery: []byte(query)}, r.Policies)
	return string(why)
}

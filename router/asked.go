package router

import (
	"strings"

	"serai/discovery"
	"serai/policy"
	"serai/upstream"
)

// askedServices are the services that the auths of a catalog ask.
func askedServices(c *policy.Catalog) map[discovery.Key]bool {
	asked := make(map[discovery.Key]bool)
	for _, name := range c.Services() {
		namespace, name, _ := strings.Cut(name, "/")
		asked[discovery.Key{Namespace: namespace, Name: name}] = true
	}
	return asked
}

// AskedRoute returns a route whose pool has the instances of a service that an auth asks,
// named NAMESPACE/NAME, rather one with an instance that is ready; nil when none has any. It is
// for its pool and the options of connections alone: no claim, and no policy, is about
// questions of serai itself.
func (t *Table) AskedRoute(service string) (found *Route) {
	for _, r := range t.pages.get([]byte(service)) {
		if r.Lingers() || len(r.Pool.Members()) == 0 {
			continue
		}
		for _, m := range r.Pool.Members() {
			if m.Weight > 0 && m.Endpoint.State() == upstream.Ready {
				return r
			}
		}
		if found == nil {
			found = r
		}
	}
	return found
}

package consulsim

import (
	"net/http"
	"slices"

	"github.com/hashicorp/go-bexpr"
)

// serviceNode is an instance in answers of the catalog, where node and service are one.
type serviceNode struct {
	ID                       string
	Node                     string
	Address                  string
	Datacenter               string
	TaggedAddresses          map[string]string
	NodeMeta                 map[string]string
	ServiceKind              string
	ServiceID                string
	ServiceName              string
	ServiceTags              Tags
	ServiceAddress           string
	ServiceTaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	ServiceWeights           Weights
	ServiceMeta              map[string]string
	ServicePort              int
	ServiceSocketPath        string
	ServiceEnableTagOverride bool
	ServiceProxy             Proxy
	ServiceConnect           Connect
	CreateIndex              uint64
	ModifyIndex              uint64
}

func (e entry) serviceNode() serviceNode {
	n, sv := e.Node, e.Service
	meta := sv.Meta
	if meta == nil {
		meta = map[string]string{}
	}
	return serviceNode{
		n.ID, n.Node, n.Address, n.Datacenter, n.TaggedAddresses, n.Meta, sv.Kind, sv.ID, sv.Service, sv.Tags, sv.Address,
		sv.TaggedAddresses, *sv.Weights, meta, sv.Port, sv.SocketPath, sv.EnableTagOverride, sv.Proxy, sv.Connect, sv.CreateIndex, sv.ModifyIndex,
	}
}

// catalogService is GET /v1/catalog/service/NAME.
func (s *Sim) catalogService(w http.ResponseWriter, r *http.Request) {
	name := rest(r, "catalog/service/")
	s.instances(w, r, name, func() (view, []entry) {
		return view{index: s.catalog.serviceIndex(name, s.catalog.exists(name), false), changed: s.catalog.changes[key(name)]}, s.catalog.entries(name)
	})
}

// catalogConnect is GET /v1/catalog/connect/NAME.
func (s *Sim) catalogConnect(w http.ResponseWriter, r *http.Request) {
	name := rest(r, "catalog/connect/")
	s.instances(w, r, name, func() (view, []entry) {
		all := s.catalog.proxies(name)
		return view{index: s.catalog.serviceIndex(name, len(all) > 0, false), changed: s.catalog.changed()}, all
	})
}

func (s *Sim) instances(w http.ResponseWriter, r *http.Request, name string, list func() (view, []entry)) {
	q, ok := s.parseQuery(w, r, "ns", "partition")
	q.early = true
	if !ok {
		return
	}
	if name == "" {
		refuse(w, http.StatusBadRequest, "Missing service name")
		return
	}
	f, ok := parseFilter(w, q, []serviceNode{})
	if !ok {
		return
	}
	tags := r.URL.Query()["tag"]
	s.answerList(w, r, q, func() view {
		v, all := list()
		v.read = func(a *authorizer) (any, bool, error) {
			entries, hidden := visible(all, a.readsEntry)
			kept := []serviceNode{}
			for _, e := range entries {
				if q.matchesNode(e.Node) && hasTags(e.Service.Tags, tags) {
					kept = append(kept, e.serviceNode())
				}
			}
			kept, err := apply(f, kept)
			nearFirst(q.near, s.options.Node, kept, func(n serviceNode) string { return n.Node })
			return kept, hidden, err
		}
		return v
	})
}

// catalogServices is GET /v1/catalog/services: the names, each with the tags of all its
// instances.
func (s *Sim) catalogServices(w http.ResponseWriter, r *http.Request) {
	q, ok := s.parseQuery(w, r, "ns", "partition")
	q.early = true
	if !ok {
		return
	}
	f, ok := parseFilter(w, q, []serviceNode{})
	if !ok {
		return
	}
	s.answerList(w, r, q, func() view {
		index, changed := s.catalog.servicesTable.index, s.catalog.servicesTable.changed
		if q.nodeMeta != nil {
			index, changed = max(index, s.catalog.nodesTable.index), max(changed, s.catalog.nodesTable.changed)
		}
		return view{index, changed, func(a *authorizer) (any, bool, error) { return s.catalog.tagsByName(q, f, a) }}
	})
}

func (c *catalog) tagsByName(q query, f *bexpr.Filter, a *authorizer) (map[string][]string, bool, error) {
	names := map[string][]string{}
	hidden := false
	for _, ids := range c.byName {
		for id, sv := range ids {
			e := entry{Node: c.nodes[id.node].node, Service: sv}
			if !q.matchesNode(e.Node) {
				continue
			}
			if !a.may("read", "service", sv.Service) {
				hidden = true
				continue
			}
			if kept, err := apply(f, []serviceNode{e.serviceNode()}); err != nil {
				return nil, false, err
			} else if len(kept) == 0 {
				continue
			}
			if names[sv.Service] == nil {
				names[sv.Service] = []string{}
			}
			names[sv.Service] = append(names[sv.Service], sv.Tags...)
		}
	}
	for name, tags := range names {
		slices.Sort(tags)
		names[name] = slices.Compact(tags)
	}
	return names, hidden, nil
}

// catalogNodes is GET /v1/catalog/nodes.
func (s *Sim) catalogNodes(w http.ResponseWriter, r *http.Request) {
	q, ok := s.parseQuery(w, r, "partition")
	q.early = true
	if !ok {
		return
	}
	f, ok := parseFilter(w, q, []*Node{})
	if !ok {
		return
	}
	s.answerList(w, r, q, func() view {
		return view{s.catalog.nodesTable.index, s.catalog.nodesTable.changed, func(a *authorizer) (any, bool, error) {
			all := []*Node{}
			for _, e := range s.catalog.sortedNodes() {
				if q.matchesNode(e.node) {
					all = append(all, e.node)
				}
			}
			kept, hidden := visible(all, func(n *Node) bool { return a.may("read", "node", n.Node) })
			kept, err := apply(f, kept)
			nearFirst(q.near, s.options.Node, kept, func(n *Node) string { return n.Node })
			return kept, hidden, err
		}}
	})
}

// catalogDatacenters is GET /v1/catalog/datacenters.
func (s *Sim) catalogDatacenters(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, []string{Datacenter})
}

// refuseEnterprise answers 400 to what only the commercial agent can do.
func refuseEnterprise(w http.ResponseWriter, r *http.Request, params ...string) bool {
	p := r.URL.Query()
	for _, param := range params {
		if p.Get(param) != "" {
			what := map[string]string{"ns": "Namespaces", "partition": "Partitions"}[param]
			refuse(w, http.StatusBadRequest, "Invalid query parameter: %q - %s are a Consul Enterprise feature", param, what)
			return true
		}
	}
	return false
}

package consulsim

import "net/http"

// nodeServices is a node with what is registered on it, by ID.
type nodeServices struct {
	Node     *Node
	Services map[string]*Service
}

// catalogNode is GET /v1/catalog/node/NAME, without its filters.
func (s *Sim) catalogNode(w http.ResponseWriter, r *http.Request) {
	name := rest(r, "catalog/node/")
	q, ok := s.parseQuery(w, r, "ns", "partition")
	q.early = true
	if !ok {
		return
	}
	if name == "" {
		refuse(w, http.StatusBadRequest, "Missing node name")
		return
	}
	s.answerList(w, r, q, func() view {
		c := &s.catalog
		v := view{index: 1, changed: c.changed()} // of a node that does not exist
		if c.nodes[key(name)] != nil {
			v.index = max(c.nodesTable.index, c.servicesTable.index)
		}
		v.read = func(a *authorizer) (any, bool, error) {
			e := c.nodes[key(name)]
			switch {
			case e == nil:
				return nil, false, nil
			case !a.may("read", "node", e.node.Node):
				return nil, true, nil
			}
			all, hidden := nodeServices{e.node, make(map[string]*Service)}, false
			for _, sv := range e.services {
				if a.may("read", "service", sv.Service) {
					all.Services[sv.ID] = sv
				} else {
					hidden = true
				}
			}
			return all, hidden, nil
		}
		return v
	})
}

package consulsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
)

// Register writes to the catalog, in one write each, and returns the last index. What it
// registers belongs to no agent: nobody looks after its checks.
func (s *Sim) Register(regs ...Registration) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, reg := range regs {
		if err := s.register(reg); err != nil {
			return s.index, err
		}
	}
	s.wake()
	return s.index, nil
}

// Deregister removes from the catalog and returns the index.
func (s *Sim) Deregister(d Deregistration) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.deregister(d); err != nil {
		return s.index, err
	}
	s.wake()
	return s.index, nil
}

// FailNode is the loss of a node, or its return: the servers set its check serfHealth.
func (s *Sim) FailNode(name string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.catalog.nodes[key(name)]
	if e == nil {
		return
	}
	c := serfHealth()
	if failed {
		c.Status, c.Output = Critical, "Agent not live or unreachable"
	}
	s.catalog.putCheck(e, c, s.next())
	s.wake()
}

// register is one write. s.mu must be held.
func (s *Sim) register(reg Registration) error {
	switch {
	case reg.Node == "":
		return refusal("Must provide node")
	case reg.Address == "" && !reg.SkipNodeUpdate:
		return refusal("Must provide address if SkipNodeUpdate is not set")
	}
	if reg.Datacenter != "" && reg.Datacenter != Datacenter {
		return refusal("No path to datacenter")
	}
	sv := reg.Service
	if sv != nil {
		own := *sv
		sv = &own
		if sv.ID == "" {
			sv.ID = sv.Service
		}
		if sv.Service == "" {
			return refusal("Must provide service name (Service.Service) when service ID is provided")
		}
		if err := validMeta(sv.Meta); err != nil {
			return refusal(fmt.Sprintf("failed inserting service: Invalid Service Meta for node %s and serviceID %s: %v", reg.Node, sv.ID, err))
		}
		complete(sv)
	}
	checks := reg.Checks
	if reg.Check != nil {
		checks = append(checks[:len(checks):len(checks)], reg.Check)
	}
	index := s.next()
	e := s.catalog.nodes[key(reg.Node)]
	for _, c := range checks {
		if c.ServiceID == "" || sv != nil && key(sv.ID) == key(c.ServiceID) || e != nil && e.services[key(c.ServiceID)] != nil {
			continue
		}
		return refusal(fmt.Sprintf("Unknown service ID '%s' for check ID '%s'", c.ServiceID, cmp.Or(c.CheckID, c.Name)))
	}
	if e == nil || !reg.SkipNodeUpdate {
		e = s.catalog.putNode(Node{
			ID: reg.ID, Node: reg.Node, Address: reg.Address, Datacenter: Datacenter, TaggedAddresses: reg.TaggedAddresses, Meta: reg.NodeMeta,
		}, index)
	}
	if sv != nil {
		s.catalog.putService(e, *sv, index)
	}
	for _, c := range checks {
		s.registerCheck(e, *c, index)
	}
	return nil
}

func (s *Sim) registerCheck(e *nodeEntry, c Check, index uint64) {
	if c.CheckID == "" {
		c.CheckID = c.Name
	}
	if c.Status == "" {
		c.Status = Critical
	}
	if c.Definition == nil {
		c.Definition = json.RawMessage("{}")
	}
	s.catalog.putCheck(e, c, index)
}

func (s *Sim) deregister(d Deregistration) error {
	if d.Node == "" {
		return refusal("Must provide node")
	}
	index := s.next()
	e := s.catalog.nodes[key(d.Node)]
	switch {
	case e == nil:
	case d.ServiceID != "":
		s.catalog.dropService(e, d.ServiceID, index)
	case d.CheckID != "":
		s.catalog.dropCheck(e, d.CheckID, index)
	default:
		s.catalog.dropNode(d.Node, index)
	}
	return nil
}

// catalogRegister is PUT /v1/catalog/register.
func (s *Sim) catalogRegister(w http.ResponseWriter, r *http.Request) {
	var reg Registration
	if refuseEnterprise(w, r, "ns", "partition") || !decode(w, r, &reg) {
		return
	}
	if !s.awaitLeader(r, false) {
		noLeader(w)
		return
	}
	if !s.permitRegistration(w, r, reg) {
		return
	}
	if _, err := s.Register(reg); err != nil {
		refuse(w, http.StatusInternalServerError, "%v", err)
		return
	}
	writeJSON(w, true)
}

func (s *Sim) permitRegistration(w http.ResponseWriter, r *http.Request, reg Registration) bool {
	if !s.permit(w, r, "write", "node", reg.Node) {
		return false
	}
	return reg.Service == nil || s.permit(w, r, "write", "service", reg.Service.Service)
}

// catalogDeregister is PUT /v1/catalog/deregister.
func (s *Sim) catalogDeregister(w http.ResponseWriter, r *http.Request) {
	var d Deregistration
	if refuseEnterprise(w, r, "ns", "partition") || !decode(w, r, &d) {
		return
	}
	if !s.awaitLeader(r, false) {
		noLeader(w)
		return
	}
	if resource, name := s.owner(d); !s.permit(w, r, "write", resource, name) {
		return
	}
	if _, err := s.Deregister(d); err != nil {
		refuse(w, http.StatusInternalServerError, "%v", err)
		return
	}
	writeJSON(w, true)
}

// owner is the resource of which a write permission permits a deregistration: the service
// that it removes, or whose check that is, or else the node.
func (s *Sim) owner(d Deregistration) (resource, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.catalog.nodes[key(d.Node)]
	if e == nil {
		return "node", d.Node
	}
	if sv := e.services[key(d.ServiceID)]; sv != nil {
		return "service", sv.Service
	}
	if c := e.checks[key(d.CheckID)]; c != nil && c.ServiceID != "" {
		return "service", c.ServiceName
	}
	return "node", d.Node
}

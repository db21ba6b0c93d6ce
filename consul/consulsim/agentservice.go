package consulsim

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// agentRegister is PUT /v1/agent/service/register.
func (s *Sim) agentRegister(w http.ResponseWriter, r *http.Request) {
	var d ServiceDefinition
	if refuseEnterprise(w, r, "ns", "partition") || !decode(w, r, &d) {
		return
	}
	if d.Name == "" {
		refuse(w, http.StatusBadRequest, "Missing service name")
		return
	}
	if d.Address == "0.0.0.0" || d.Address == "::" || d.Address == "[::]" {
		refuse(w, http.StatusBadRequest, "Invalid service address")
		return
	}
	if err := validWeights(d.Weights); err != nil {
		refuse(w, http.StatusBadRequest, "Invalid Weights: %v", err)
		return
	}
	if err := validMeta(d.Meta); err != nil {
		refuse(w, http.StatusBadRequest, "Invalid Service Meta: %v", err)
		return
	}
	if !validChecks(w, d.checks(), "Invalid check") {
		return
	}
	if d.Connect != nil && d.Connect.SidecarService != nil && !validChecks(w, d.Connect.SidecarService.checks(), "Invalid check in sidecar_service") {
		return
	}
	if !s.permit(w, r, "write", "service", d.Name) {
		return
	}
	if slices.ContainsFunc(d.checks(), func(c *CheckDefinition) bool { return len(c.Args) > 0 }) {
		refuse(w, http.StatusInternalServerError, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
		return
	}
	q := r.URL.Query()
	replace := q.Has("replace-existing-checks") && (q.Get("replace-existing-checks") == "" || q.Get("replace-existing-checks") == "true")
	s.mu.Lock()
	defer s.mu.Unlock()
	sidecar := s.sidecar(&d)
	s.addLocal(&d, replace)
	if sidecar != nil {
		s.addLocal(sidecar, replace)
	}
}

// validChecks answers 400 and returns false when a check cannot be.
func validChecks(w http.ResponseWriter, checks []*CheckDefinition, what string) bool {
	for _, c := range checks {
		if err := c.validate(); err != nil {
			refuse(w, http.StatusBadRequest, "%s: %v", what, err)
			return false
		}
	}
	for _, c := range checks {
		if !validStatus(c.Status) {
			refuse(w, http.StatusBadRequest, "Status for checks must 'passing', 'warning', 'critical'")
			return false
		}
	}
	return true
}

// localChecks makes the checks of a service, with the IDs and names that they get.
func (s *Sim) localChecks(d *ServiceDefinition) (all []*localCheck) {
	id := d.service().ID
	defs := d.checks()
	for i, c := range defs {
		def := *c
		def.ServiceID = id
		if def.CheckID == "" {
			def.CheckID = "service:" + id
			if len(defs) > 1 {
				def.CheckID += fmt.Sprintf(":%d", i+1)
			}
		}
		if def.Name == "" {
			def.Name = fmt.Sprintf("Service '%s' check", d.Name)
		}
		all = append(all, s.localCheck(&def))
	}
	return all
}

func (s *Sim) localCheck(d *CheckDefinition) *localCheck {
	return &localCheck{check: d.check(s.options.Node), ttl: time.Duration(d.TTL), alias: d.AliasService}
}

// addLocal registers a service with its checks. A check that is there already keeps its
// state. s.mu must be held.
func (s *Sim) addLocal(d *ServiceDefinition, replace bool) {
	sv := d.service()
	addFamilies(&sv)
	id := key(sv.ID)
	s.local.services[id] = &sv
	if replace {
		for k, lc := range s.local.checks {
			if key(lc.check.ServiceID) == id && lc.check.Type != "maintenance" {
				delete(s.local.checks, k)
				s.local.unsynced[localKey{true, k}] = s.now()
			}
		}
	}
	for _, lc := range s.localChecks(d) {
		s.addCheck(lc)
	}
	s.mark(localKey{id: id}, 0)
}

// addFamilies adds the addresses by which a service is found in one family of addresses.
func addFamilies(sv *Service) {
	ip, err := netip.ParseAddr(sv.Address)
	if err != nil {
		return
	}
	family := "ipv6"
	if ip.Unmap().Is4() {
		family = "ipv4"
	}
	all := map[string]ServiceAddress{"lan_" + family: {sv.Address, sv.Port}, "wan_" + family: {sv.Address, sv.Port}}
	maps.Copy(all, sv.TaggedAddresses)
	sv.TaggedAddresses = all
}

// addCheck registers a check, without a word to the catalog. s.mu must be held.
func (s *Sim) addCheck(lc *localCheck) {
	if old := s.local.checks[key(lc.check.CheckID)]; old != nil {
		lc.check.Status, lc.check.Output = old.check.Status, old.check.Output
	}
	if sv := s.local.services[key(lc.check.ServiceID)]; sv != nil {
		lc.check.ServiceName, lc.check.ServiceTags = sv.Service, sv.Tags
	}
	if lc.ttl > 0 {
		lc.expires = s.now().Add(lc.ttl)
	}
	s.local.checks[key(lc.check.CheckID)] = lc
}

// agentDeregister is PUT /v1/agent/service/deregister/ID.
func (s *Sim) agentDeregister(w http.ResponseWriter, r *http.Request) {
	if refuseEnterprise(w, r, "ns", "partition") {
		return
	}
	id := rest(r, "agent/service/deregister/")
	if !s.permitService(w, r, id) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocal(id)
	if side := s.local.services[key(id+"-sidecar-proxy")]; side != nil && strings.EqualFold(side.Kind, "connect-proxy") {
		s.dropLocal(side.ID)
	}
}

// permitService answers, and returns false, unless a service is there and may be
// changed.
func (s *Sim) permitService(w http.ResponseWriter, r *http.Request, id string) bool {
	s.mu.Lock()
	sv := s.local.services[key(id)]
	s.mu.Unlock()
	if sv == nil {
		refuse(w, http.StatusNotFound, "Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)
		return false
	}
	return s.permit(w, r, "write", "service", sv.Service)
}

// dropLocal deregisters a service and its checks. s.mu must be held.
func (s *Sim) dropLocal(id string) {
	delete(s.local.services, key(id))
	for k, lc := range s.local.checks {
		if key(lc.check.ServiceID) == key(id) {
			delete(s.local.checks, k)
			delete(s.local.unsynced, localKey{true, k})
		}
	}
	s.mark(localKey{id: key(id)}, 0)
}

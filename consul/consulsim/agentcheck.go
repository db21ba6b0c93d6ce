package consulsim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// agentRegisterCheck is PUT /v1/agent/check/register.
func (s *Sim) agentRegisterCheck(w http.ResponseWriter, r *http.Request) {
	var d CheckDefinition
	if !decode(w, r, &d) {
		return
	}
	if d.CheckID == "" {
		d.CheckID = d.ID
	}
	if d.Name == "" {
		refuse(w, http.StatusBadRequest, "Missing check name")
		return
	}
	if d.CheckID == "" {
		d.CheckID = d.Name
	}
	if !validStatus(d.Status) {
		refuse(w, http.StatusBadRequest, "Bad check status")
		return
	}
	if err := d.validate(); err != nil {
		refuse(w, http.StatusBadRequest, "Invalid check: %v", err)
		return
	}
	s.mu.Lock()
	sv := s.local.services[key(d.ServiceID)]
	s.mu.Unlock()
	switch {
	case d.ServiceID == "":
		if !s.permit(w, r, "write", "node", s.options.Node) {
			return
		}
	case sv == nil:
		refuse(w, http.StatusNotFound, "ServiceID %q does not exist", d.ServiceID)
		return
	case !s.permit(w, r, "write", "service", sv.Service):
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lc := s.localCheck(&d)
	lc.check.Interval, lc.check.Timeout = time.Duration(d.Interval).String(), time.Duration(d.Timeout).String()
	s.addCheck(lc)
	s.mark(localKey{true, key(d.CheckID)}, 0)
}

// agentDeregisterCheck is PUT /v1/agent/check/deregister/ID.
func (s *Sim) agentDeregisterCheck(w http.ResponseWriter, r *http.Request) {
	id := rest(r, "agent/check/deregister/")
	if !s.permitCheck(w, r, id) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.local.checks, key(id))
	s.mark(localKey{true, key(id)}, 0)
}

// permitCheck answers, and returns false, unless a check is there and may be changed.
func (s *Sim) permitCheck(w http.ResponseWriter, r *http.Request, id string) bool {
	s.mu.Lock()
	lc := s.local.checks[key(id)]
	s.mu.Unlock()
	switch {
	case lc == nil:
		refuse(w, http.StatusNotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
		return false
	case lc.check.ServiceName != "":
		return s.permit(w, r, "write", "service", lc.check.ServiceName)
	}
	return s.permit(w, r, "write", "node", s.options.Node)
}

func (s *Sim) checkPass(w http.ResponseWriter, r *http.Request) {
	s.reportTTL(w, r, rest(r, "agent/check/pass/"), Passing, r.URL.Query().Get("note"))
}

func (s *Sim) checkWarn(w http.ResponseWriter, r *http.Request) {
	s.reportTTL(w, r, rest(r, "agent/check/warn/"), Warning, r.URL.Query().Get("note"))
}

func (s *Sim) checkFail(w http.ResponseWriter, r *http.Request) {
	s.reportTTL(w, r, rest(r, "agent/check/fail/"), Critical, r.URL.Query().Get("note"))
}

// checkUpdate is PUT /v1/agent/check/update/ID.
func (s *Sim) checkUpdate(w http.ResponseWriter, r *http.Request) {
	var body struct{ Status, Output string }
	if !decode(w, r, &body) {
		return
	}
	switch body.Status {
	case Passing, Warning, Critical:
		s.reportTTL(w, r, rest(r, "agent/check/update/"), body.Status, body.Output)
	default:
		refuse(w, http.StatusBadRequest, "Invalid check status: '%s'", body.Status)
	}
}

// reportTTL sets the state of a check with a TTL.
func (s *Sim) reportTTL(w http.ResponseWriter, r *http.Request, id, status, output string) {
	if !s.permitCheck(w, r, id) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lc := s.local.checks[key(id)]
	if lc == nil || lc.ttl == 0 {
		refuse(w, http.StatusInternalServerError, "CheckID %q does not have associated TTL", id)
		return
	}
	lc.expires = s.now().Add(lc.ttl)
	s.report(lc, status, output)
}

// report sets the state of a check. New output alone is not worth a write to the
// catalog, so it waits. s.mu must be held.
func (s *Sim) report(lc *localCheck, status, output string) {
	id := key(lc.check.CheckID)
	switch {
	case lc.check.Status != status:
		lc.check.Status, lc.check.Output = status, output
		s.mark(localKey{true, id}, 0)
	case lc.check.Output != output:
		lc.check.Output = output
		s.mark(localKey{true, id}, outputDelay)
	}
}

// SetCheck is the result of a check that the agent runs, such as an HTTP check. It does
// nothing when the agent has none of that ID.
func (s *Sim) SetCheck(id, status, output string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lc := s.local.checks[key(id)]; lc != nil {
		s.report(lc, status, output)
	}
}

// serviceMaintenance is PUT /v1/agent/service/maintenance/ID.
func (s *Sim) serviceMaintenance(w http.ResponseWriter, r *http.Request) {
	id := rest(r, "agent/service/maintenance/")
	if id == "" {
		refuse(w, http.StatusBadRequest, "Missing service ID")
		return
	}
	enable, ok := parseEnable(w, r)
	if !ok || !s.permitService(w, r, id) {
		return
	}
	s.maintenance(enable, Check{
		CheckID: "_service_maintenance:" + id, Name: "Service Maintenance Mode", ServiceID: id,
		Notes: reason(r, "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."),
	})
}

// nodeMaintenance is PUT /v1/agent/maintenance.
func (s *Sim) nodeMaintenance(w http.ResponseWriter, r *http.Request) {
	enable, ok := parseEnable(w, r)
	if !ok || !s.permit(w, r, "write", "node", s.options.Node) {
		return
	}
	s.maintenance(enable, Check{
		CheckID: "_node_maintenance", Name: "Node Maintenance Mode",
		Notes: reason(r, "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."),
	})
}

func parseEnable(w http.ResponseWriter, r *http.Request) (enable, ok bool) {
	v := r.URL.Query().Get("enable")
	if v == "" {
		refuse(w, http.StatusBadRequest, "Missing value for enable")
		return false, false
	}
	enable, err := strconv.ParseBool(v)
	if err != nil {
		refuse(w, http.StatusBadRequest, "Invalid value for enable: %q", v)
		return false, false
	}
	return enable, true
}

func reason(r *http.Request, otherwise string) string {
	if v := r.URL.Query().Get("reason"); v != "" {
		return v
	}
	return otherwise
}

// maintenance adds or removes the check that stands for it.
func (s *Sim) maintenance(enable bool, c Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := key(c.CheckID)
	there := s.local.checks[id] != nil
	switch {
	case enable && !there:
		c.Node, c.Status, c.Type = s.options.Node, Critical, "maintenance"
		c.Definition = json.RawMessage("{}")
		s.addCheck(&localCheck{check: c})
	case !enable && there:
		delete(s.local.checks, id)
	default:
		return
	}
	s.mark(localKey{true, id}, 0)
}

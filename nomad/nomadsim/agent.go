package nomadsim

import "net/http"

// statusLeader is GET /v1/status/leader.
func (s *Sim) statusLeader(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	leader := s.leader
	s.mu.Unlock()
	if !leader {
		noLeader(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte(`"127.0.0.1:4647"`))
}

// agentSelf is GET /v1/agent/self, as far as clients read it. It needs agent:read,
// which only management tokens have here.
func (s *Sim) agentSelf(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	ok := s.access.isManagement(secret(r))
	enabled := s.access.enabled
	s.mu.Unlock()
	if !ok {
		forbid(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(map[string]any{
		"config": map[string]any{
			"ACL":        map[string]any{"Enabled": enabled},
			"Datacenter": Datacenter,
			"Region":     Region,
			"Version":    map[string]any{"Version": Version},
		},
		"member": map[string]any{"Name": "nomadsim", "Tags": map[string]string{"build": Version, "region": Region, "dc": Datacenter}},
		"stats":  map[string]any{},
	}))
}

// agentHealth is GET /v1/agent/health, which needs no token.
func (s *Sim) agentHealth(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	leader := s.leader
	s.mu.Unlock()
	type part struct {
		Ok      bool   `json:"ok"`
		Message string `json:"message"`
	}
	server := part{true, "ok"}
	w.Header().Set("Content-Type", "application/json")
	if !leader {
		server = part{false, "No cluster leader"}
		w.WriteHeader(http.StatusInternalServerError)
	}
	w.Write(encode(map[string]part{"client": {true, "ok"}, "server": server}))
}

// tokenSelf is GET /v1/acl/token/self. A workload identity is not an ACL token, so an
// agent does not find it there.
func (s *Sim) tokenSelf(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	enabled := s.access.enabled
	t, ok := s.access.tokens[secret(r)]
	s.mu.Unlock()
	switch {
	case !enabled:
		refuse(w, http.StatusBadRequest, "ACL support disabled")
	case !ok || t.Workload:
		forbid(w)
	default:
		kind := "client"
		if t.Management {
			kind = "management"
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(encode(map[string]any{"AccessorID": "accessor", "Name": "token", "Type": kind}))
	}
}

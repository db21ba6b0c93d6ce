package consulsim

import "net/http"

// agentSelf is GET /v1/agent/self, as far as clients read it.
func (s *Sim) agentSelf(w http.ResponseWriter, r *http.Request) {
	if !s.permit(w, r, "read", "agent", s.options.Node) {
		return
	}
	writeJSON(w, map[string]any{
		"Config": map[string]any{
			"Datacenter": Datacenter, "PrimaryDatacenter": Datacenter, "NodeName": s.options.Node, "NodeID": nodeID, "Server": true, "Version": Version,
		},
		"Member": map[string]any{
			"Name": s.options.Node, "Addr": "127.0.0.1", "Status": 1,
			"Tags": map[string]string{"dc": Datacenter, "id": nodeID, "role": "consul"},
		},
		"Meta":  map[string]string{"consul-network-segment": ""},
		"Stats": map[string]any{},
	})
}

// agentService is a service in the agent's own list.
type agentService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              Tags
	Meta              map[string]string
	Port              int
	Address           string
	SocketPath        string                    `json:",omitempty"`
	TaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	Weights           *Weights
	EnableTagOverride bool
	Proxy             *agentProxy `json:",omitempty"`
	Connect           *Connect    `json:",omitempty"`
	Datacenter        string
}

// agentProxy is a Proxy there.
type agentProxy struct {
	DestinationServiceName string           `json:",omitempty"`
	DestinationServiceID   string           `json:",omitempty"`
	LocalServiceAddress    string           `json:",omitempty"`
	LocalServicePort       int              `json:",omitempty"`
	Mode                   string           `json:",omitempty"`
	Config                 map[string]any   `json:",omitempty"`
	Upstreams              []map[string]any `json:",omitempty"`
	MeshGateway            map[string]any
	Expose                 map[string]any
}

func (sv *Service) agentService() agentService {
	a := agentService{
		Kind: sv.Kind, ID: sv.ID, Service: sv.Service, Tags: sv.Tags, Meta: sv.Meta, Port: sv.Port, Address: sv.Address, SocketPath: sv.SocketPath,
		TaggedAddresses: sv.TaggedAddresses, Weights: sv.Weights, EnableTagOverride: sv.EnableTagOverride, Datacenter: Datacenter,
	}
	if a.Meta == nil {
		a.Meta = map[string]string{}
	}
	if sv.Kind == "connect-proxy" {
		proxy := agentProxy(sv.Proxy)
		a.Proxy = &proxy
	}
	if sv.Connect.Native {
		a.Connect = &Connect{Native: true}
	}
	return a
}

// agentServices is GET /v1/agent/services.
func (s *Sim) agentServices(w http.ResponseWriter, r *http.Request) {
	s.agentList(w, r, func(a *authorizer) (any, bool) {
		found := map[string]agentService{}
		for _, sv := range s.local.services {
			if a.may("read", "service", sv.Service) {
				found[sv.ID] = sv.agentService()
			}
		}
		return found, len(found) < len(s.local.services)
	})
}

// agentList answers what the agent has, and tells if a part is hidden.
func (s *Sim) agentList(w http.ResponseWriter, r *http.Request, list func(a *authorizer) (found any, hidden bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.access.resolve(secret(r))
	if err != nil {
		refuse(w, http.StatusForbidden, "%v", err)
		return
	}
	s.settle(s.now())
	found, hidden := list(a)
	if hidden && secret(r) != "" {
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
	}
	writeJSON(w, found)
}

// agentChecks is GET /v1/agent/checks.
func (s *Sim) agentChecks(w http.ResponseWriter, r *http.Request) {
	s.agentList(w, r, func(a *authorizer) (any, bool) {
		found := map[string]Check{}
		for _, lc := range s.local.checks {
			if a.readsCheck(&lc.check) {
				found[lc.check.CheckID] = lc.check
			}
		}
		return found, len(found) < len(s.local.checks)
	})
}

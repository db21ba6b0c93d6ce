package consulsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// routes are the implemented parts of the API.
func (s *Sim) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, h http.HandlerFunc, methods ...string) {
		// The part that a trailing slash leaves open may contain slashes, escaped.
		kind := strings.TrimSuffix(path, "/")
		mux.Handle("/v1/"+path, s.guard(kind, only(h, methods...)))
	}
	const get, put = http.MethodGet, http.MethodPut
	handle("agent/self", s.agentSelf, get)
	handle("agent/services", s.agentServices, get)
	handle("agent/checks", s.agentChecks, get)
	handle("agent/maintenance", s.nodeMaintenance, put)
	handle("agent/service/register", s.agentRegister, put)
	handle("agent/service/deregister/", s.agentDeregister, put)
	handle("agent/service/maintenance/", s.serviceMaintenance, put)
	handle("agent/check/register", s.agentRegisterCheck, put)
	handle("agent/check/deregister/", s.agentDeregisterCheck, put)
	handle("agent/check/pass/", s.checkPass, put)
	handle("agent/check/warn/", s.checkWarn, put)
	handle("agent/check/fail/", s.checkFail, put)
	handle("agent/check/update/", s.checkUpdate, put)
	handle("catalog/register", s.catalogRegister, put)
	handle("catalog/deregister", s.catalogDeregister, put)
	handle("catalog/datacenters", s.catalogDatacenters, get)
	handle("catalog/nodes", s.catalogNodes, get)
	handle("catalog/node/", s.catalogNode, get)
	handle("catalog/services", s.catalogServices, get)
	handle("catalog/service/", s.catalogService, get)
	handle("catalog/connect/", s.catalogConnect, get)
	handle("health/service/", s.healthService, get)
	handle("health/connect/", s.healthConnect, get)
	handle("health/state/", s.healthState, get)
	handle("health/checks/", s.healthChecks, get)
	handle("health/node/", s.healthNode, get)
	handle("status/leader", s.statusLeader, get)
	handle("status/peers", s.statusPeers, get)
	handle("acl/token/self", s.tokenSelf, get)
	handle("agent/connect/ca/roots", s.meshRoots, get)
	handle("agent/connect/ca/leaf/", s.meshLeaf, get)
	handle("connect/intentions/check", s.intentionCheck, get)
	handle("connect/intentions/exact", s.intentionExact, put, http.MethodDelete)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "Invalid URL path: not a recognized HTTP API endpoint")
	})
	mux.HandleFunc("/v1", noAPI)
	mux.HandleFunc("/", noAPI)
	return mux
}

func noAPI(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusNotFound, "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'")
}

// guard counts the request and applies the fault of its kind if there is one.
func (s *Sim) guard(kind string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.counter.Add(kind)
		w.Header().Set("Vary", "Accept-Encoding")
		w.Header().Set("X-Consul-Default-Acl-Policy", s.defaultPolicy())
		if f := s.faults.Find(kind); f != nil {
			f(w, r, h)
			return
		}
		h(w, r)
	})
}

// only answers 405 to other methods, as the agent does.
func only(h http.HandlerFunc, methods ...string) http.HandlerFunc {
	allowed := strings.Join(slices.Concat([]string{http.MethodOptions}, methods), ",")
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(methods, r.Method) {
			h(w, r)
			return
		}
		w.Header().Set("Allow", allowed)
		if r.Method == http.MethodOptions {
			return
		}
		refuse(w, http.StatusMethodNotAllowed, "method %s not allowed", r.Method)
	}
}

// refusal is an error in Consul's own words.
type refusal string

func (r refusal) Error() string { return string(r) }

// refuse answers like the agent: the reason as plain text, without a newline.
func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, format, args...)
}

func noLeader(w http.ResponseWriter) {
	refuse(w, http.StatusInternalServerError, "No cluster leader")
}

// rest is what follows prefix in the path, unescaped.
func rest(r *http.Request, prefix string) string {
	return strings.TrimPrefix(r.URL.Path, "/v1/"+prefix)
}

// statusLeader is GET /v1/status/leader.
func (s *Sim) statusLeader(w http.ResponseWriter, r *http.Request) {
	if dc := r.URL.Query().Get("dc"); dc != "" && dc != Datacenter {
		refuse(w, http.StatusInternalServerError, "No path to datacenter")
		return
	}
	s.mu.Lock()
	leader := s.leader
	s.mu.Unlock()
	if !leader {
		writeJSON(w, "")
		return
	}
	writeJSON(w, fmt.Sprintf("127.0.0.1:%d", serverPort))
}

// statusPeers is GET /v1/status/peers.
func (s *Sim) statusPeers(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, []string{fmt.Sprintf("127.0.0.1:%d", serverPort)})
}

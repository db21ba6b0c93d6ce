package nomadsim

import (
	"fmt"
	"net/http"
	"strings"

	"serai/nomad"
)

// routes are the implemented parts of the API, each with the kind under which it is
// counted and can be made to fail.
func (s *Sim) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern, kind string, h http.HandlerFunc) {
		mux.Handle(pattern, s.guard(kind, h))
	}
	handle("/v1/services", nomad.KindServices, only(s.listServices, http.MethodGet))
	handle("/v1/service/", nomad.KindService, s.service)
	handle("/v1/event/stream", nomad.KindStream, only(s.stream, http.MethodGet))
	handle("/v1/namespaces", nomad.KindNamespaces, only(s.listNamespaces, http.MethodGet))
	handle("/v1/namespace/", nomad.KindNamespaces, s.namespace)
	handle("/v1/namespace", nomad.KindNamespaces, only(s.putNamespace, http.MethodPut, http.MethodPost))
	handle("/v1/job/", nomad.KindJob, only(s.job, http.MethodGet))
	handle("/v1/vars", nomad.KindVariables, only(s.listVariables, http.MethodGet))
	handle("/v1/var/", nomad.KindVariable, s.variable)
	handle("/v1/status/leader", nomad.KindAgent, only(s.statusLeader, http.MethodGet))
	handle("/v1/agent/self", nomad.KindAgent, only(s.agentSelf, http.MethodGet))
	handle("/v1/agent/health", nomad.KindAgent, only(s.agentHealth, http.MethodGet))
	handle("/v1/acl/token/self", nomad.KindAgent, only(s.tokenSelf, http.MethodGet))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	return mux
}

// guard counts the request, applies the fault of its kind if there is one, and demands
// a token where one is always necessary.
func (s *Sim) guard(kind string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := kind
		if kind == nomad.KindVariable && strings.Contains(r.URL.RawQuery, "lock-") {
			kind = nomad.KindLock
		}
		s.counter.Add(kind)
		final := http.Handler(h)
		if s.options.RequireToken {
			final = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if secret(r) == "" {
					refuse(w, http.StatusUnauthorized, "Unauthorized")
					return
				}
				h(w, r)
			})
		}
		if f := s.faults.Find(kind); f != nil {
			f(w, r, final)
			return
		}
		if region := r.URL.Query().Get("region"); region != "" && region != Region {
			refuse(w, http.StatusInternalServerError, "No path to region")
			return
		}
		final.ServeHTTP(w, r)
	})
}

// only answers 405 to other methods, as the agent does.
func only(h http.HandlerFunc, methods ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, m := range methods {
			if r.Method == m {
				h(w, r)
				return
			}
		}
		refuse(w, http.StatusMethodNotAllowed, "Invalid method")
	}
}

// refuse answers like the agent: the reason as plain text, without a newline.
func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, format, args...)
}

func forbid(w http.ResponseWriter) { refuse(w, http.StatusForbidden, "Permission denied") }

func noLeader(w http.ResponseWriter) {
	refuse(w, http.StatusInternalServerError, "No cluster leader")
}

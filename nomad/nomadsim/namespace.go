package nomadsim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"serai/nomad"
)

// namespaceTable has the namespaces and when each was created.
type namespaceTable struct {
	names map[string]uint64
	index uint64
}

func (t *namespaceTable) init(index uint64, names ...string) {
	t.names, t.index = map[string]uint64{}, index
	for _, n := range names {
		t.names[n] = index
	}
}

// CreateNamespace creates a namespace, if it does not exist. Running streams do not
// cover it.
func (s *Sim) CreateNamespace(name string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	if _, ok := s.namespaces.names[name]; !ok {
		s.namespaces.names[name] = s.index
	}
	s.namespaces.index = s.index
	s.wake()
	return s.index
}

// DeleteNamespace removes a namespace. Its services stay, unlike in Nomad,
// which deletes only empty ones: deregister them first.
func (s *Sim) DeleteNamespace(name string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	delete(s.namespaces.names, name)
	s.namespaces.index = s.index
	s.wake()
	return s.index
}

// namespaceAnswer is one namespace in the API, as far as clients read it.
type namespaceAnswer struct {
	Name        string
	Description string
	CreateIndex uint64
	ModifyIndex uint64
}

// listNamespaces is GET /v1/namespaces.
func (s *Sim) listNamespaces(w http.ResponseWriter, r *http.Request) {
	q, ok := s.parseQuery(w, r)
	if !ok {
		return
	}
	token := secret(r)
	s.mu.Lock()
	known := s.access.known(token)
	s.mu.Unlock()
	if !known {
		forbid(w)
		return
	}
	s.answerList(w, r, q, func() view {
		list := []namespaceAnswer{}
		for _, name := range slices.Sorted(maps.Keys(s.namespaces.names)) {
			if s.access.anything(token, name) {
				i := s.namespaces.names[name]
				list = append(list, namespaceAnswer{Name: name, CreateIndex: i, ModifyIndex: i})
			}
		}
		return view{body: encode(list), index: s.namespaces.index, scope: s.namespaces.index}
	})
}

// namespace is /v1/namespace/NAME.
func (s *Sim) namespace(w http.ResponseWriter, r *http.Request) {
	name := pathRest(r.URL, "/v1/namespace/")
	switch r.Method {
	case http.MethodPut, http.MethodPost:
		s.putNamespace(w, r)
	case http.MethodDelete:
		if !s.management(w, r) {
			return
		}
		if name == nomad.DefaultNamespace {
			refuse(w, http.StatusInternalServerError, "default namespace can not be deleted")
			return
		}
		w.Header().Set("X-Nomad-Index", strconv.FormatUint(s.DeleteNamespace(name), 10))
	case http.MethodGet:
		q, ok := s.parseQuery(w, r)
		if !ok {
			return
		}
		if !s.may(secret(r), name, "read-job") {
			forbid(w)
			return
		}
		s.answerList(w, r, q, func() view {
			i, ok := s.namespaces.names[name]
			if !ok {
				return view{status: http.StatusNotFound, body: []byte("Namespace not found"), index: s.namespaces.index}
			}
			return view{body: encode(namespaceAnswer{Name: name, CreateIndex: i, ModifyIndex: i}), index: i, scope: i}
		})
	default:
		refuse(w, http.StatusMethodNotAllowed, "Invalid method")
	}
}

// putNamespace is PUT /v1/namespace.
func (s *Sim) putNamespace(w http.ResponseWriter, r *http.Request) {
	if !s.management(w, r) {
		return
	}
	var body struct{ Name string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil || body.Name == "" {
		refuse(w, http.StatusBadRequest, "missing namespace name")
		return
	}
	w.Header().Set("X-Nomad-Index", strconv.FormatUint(s.CreateNamespace(body.Name), 10))
}

// management answers 403 unless the token is a management token, and 500 while nothing
// can be written.
func (s *Sim) management(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	ok, leader := s.access.isManagement(secret(r)), s.leader
	s.mu.Unlock()
	switch {
	case !leader:
		noLeader(w)
	case !ok:
		forbid(w)
	}
	return ok && leader
}

package nomadsim

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"serai/nomad"
)

// maxVariable is the most bytes that keys and values of a variable may have.
const maxVariable = 64 << 10

var validPath = regexp.MustCompile(`^[a-zA-Z0-9-_~/]{1,128}$`)

// variableTable has the variables, the queries blocked on them, and the clocks of their
// locks. Guarded by Sim.mu.
type variableTable struct {
	rows     map[variableKey]*variable
	index    uint64
	scopes   map[string]uint64      // by namespace
	clocks   map[string]lockClock   // by lock ID, of current locks
	releases []lockRelease          // of expired locks
	gone     map[variableKey]uint64 // when a variable was deleted
}

type variableKey struct{ namespace, path string }

func (k variableKey) less(o variableKey) int {
	if c := strings.Compare(k.namespace, o.namespace); c != 0 {
		return c
	}
	return strings.Compare(k.path, o.path)
}

// variable is one variable in the API and in memory. Never modified once it is in the
// table.
type variable struct {
	Namespace   string
	Path        string
	Lock        *lock `json:",omitempty"`
	CreateIndex uint64
	CreateTime  int64
	ModifyIndex uint64
	ModifyTime  int64
	Items       map[string]string `json:",omitempty"`
}

// meta is v without what lists omit.
func (v *variable) meta(locks bool) variable {
	m := *v
	m.Items = nil
	if !locks {
		m.Lock = nil
	}
	return m
}

func (t *variableTable) init() {
	t.rows = map[variableKey]*variable{}
	t.scopes = map[string]uint64{}
	t.clocks = map[string]lockClock{}
	t.gone = map[variableKey]uint64{}
	t.index = 1
}

// Variables returns what is stored, by namespace and path: "default" and
// "serai/certs/x" are the key "default/serai/certs/x". For tests.
func (s *Sim) Variables() map[string]map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.now())
	all := map[string]map[string]string{}
	for k, v := range s.variables.rows {
		all[k.namespace+"/"+k.path] = maps.Clone(v.Items)
	}
	return all
}

// listVariables is GET /v1/vars.
func (s *Sim) listVariables(w http.ResponseWriter, r *http.Request) {
	q, ok := s.parseQuery(w, r)
	if !ok {
		return
	}
	token := secret(r)
	if !s.heard(w, token) {
		return
	}
	s.answerList(w, r, q, func() view {
		t := &s.variables
		list := []variable{}
		for _, k := range slices.SortedFunc(maps.Keys(t.rows), variableKey.less) {
			if q.namespace != nomad.AllNamespaces && k.namespace != q.namespace ||
				!strings.HasPrefix(k.path, q.prefix) ||
				!s.access.allowsVariable(token, k.namespace, k.path, "list") {
				continue
			}
			list = append(list, t.rows[k].meta(s.access.isManagement(token)))
		}
		v := view{body: encode(list), index: t.index, scope: t.scopes[q.namespace]}
		if q.namespace == nomad.AllNamespaces {
			v.scope = t.index
		}
		return v
	})
}

// heard answers 403 to an unknown token.
func (s *Sim) heard(w http.ResponseWriter, token string) bool {
	s.mu.Lock()
	ok := s.access.known(token)
	s.mu.Unlock()
	if !ok {
		forbid(w)
	}
	return ok
}

// variable is /v1/var/PATH.
func (s *Sim) variable(w http.ResponseWriter, r *http.Request) {
	path := pathRest(r.URL, "/v1/var/")
	if path == "" {
		refuse(w, http.StatusBadRequest, "missing variable path")
		return
	}
	switch r.Method {
	case http.MethodGet:
		s.getVariable(w, r, path)
	case http.MethodPut, http.MethodPost:
		s.putVariable(w, r, path)
	case http.MethodDelete:
		s.deleteVariable(w, r, path)
	default:
		refuse(w, http.StatusBadRequest, "Invalid method")
	}
}

func (s *Sim) getVariable(w http.ResponseWriter, r *http.Request, path string) {
	q, ok := s.parseQuery(w, r)
	if !ok {
		return
	}
	token, key := secret(r), variableKey{q.namespace, path}
	s.mu.Lock()
	allowed, management := s.access.allowsVariable(token, q.namespace, path, "read"), s.access.isManagement(token)
	s.mu.Unlock()
	if !allowed {
		forbid(w)
		return
	}
	s.answerList(w, r, q, func() view {
		v, ok := s.variables.rows[key]
		if !ok {
			return view{status: http.StatusNotFound, body: []byte("variable not found"), index: s.variables.index, scope: s.variables.gone[key]}
		}
		out := *v
		if !management {
			out.Lock = nil
		}
		return view{body: encode(out), index: v.ModifyIndex, scope: v.ModifyIndex}
	})
}

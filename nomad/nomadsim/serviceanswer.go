package nomadsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"serai/nomad"
)

// listServices is GET /v1/services.
func (s *Sim) listServices(w http.ResponseWriter, r *http.Request) {
	q, ok := s.parseQuery(w, r)
	if !ok {
		return
	}
	token := secret(r)
	if q.namespace != nomad.AllNamespaces && !s.mayReadServices(token, q.namespace) {
		forbid(w)
		return
	}
	s.answerList(w, r, q, func() view {
		if q.namespace != nomad.AllNamespaces {
			scope := s.services.scopes[q.namespace]
			if strings.HasPrefix(q.namespace, "_") {
				// No namespace begins like that, so Nomad's tree has no branch for
				// it to watch, and any change wakes the query (seen, 2.0.5).
				scope = s.services.index
			}
			return view{body: s.services.list([]string{q.namespace}), index: s.services.index, scope: scope}
		}
		readable := s.access.readable(token, slices.Sorted(maps.Keys(s.namespaces.names)))
		if len(readable) == 0 {
			// Not a refusal: an agent answers this.
			return view{body: []byte("[]"), never: true}
		}
		return view{body: s.services.list(readable), index: s.services.index, scope: s.services.index}
	})
}

// list encodes the services of some namespaces, once per change for everyone.
func (t *serviceTable) list(namespaces []string) []byte {
	scope := strings.Join(namespaces, "\n")
	if l, ok := t.lists[scope]; ok && l.index == t.index {
		return l.body
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for _, ns := range namespaces {
		n := 0
		for _, sv := range t.committed[ns] {
			if len(sv.instances) == 0 {
				continue
			}
			if n == 0 {
				if b.Len() > 1 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, `{"Namespace":%q,"Services":[`, ns)
			} else {
				b.WriteByte(',')
			}
			b.Write(sv.encodeStub())
			n++
		}
		if n > 0 {
			b.WriteString("]}")
		}
	}
	b.WriteByte(']')
	t.lists[scope] = encodedList{t.index, b.Bytes()}
	return b.Bytes()
}

func (sv *service) encodeStub() []byte {
	if sv.stub != nil {
		return sv.stub
	}
	seen := map[string]bool{}
	tags := []string{}
	for _, r := range sv.instances {
		for _, tag := range r.Tags {
			if !seen[tag] {
				seen[tag] = true
				tags = append(tags, tag)
			}
		}
	}
	sv.stub = encode(struct {
		ServiceName string
		Tags        []string
	}{sv.name, tags})
	return sv.stub
}

func (sv *service) encodeGet() []byte {
	if sv.get == nil {
		regs := make([]*nomad.Registration, 0, len(sv.instances))
		for _, r := range sv.instances {
			regs = append(regs, r)
		}
		slices.SortFunc(regs, func(a, b *nomad.Registration) int { return strings.Compare(a.ID, b.ID) })
		sv.get = encode(regs)
	}
	return sv.get
}

// service is GET /v1/service/NAME and DELETE /v1/service/NAME/ID.
func (s *Sim) service(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/service/"), "/")
	switch {
	case len(parts) == 1 && r.Method == http.MethodGet && parts[0] == "":
		refuse(w, http.StatusBadRequest, "missing service name")
	case len(parts) == 1 && r.Method == http.MethodGet:
		s.getService(w, r, parts[0])
	case len(parts) == 2 && r.Method == http.MethodDelete:
		s.deleteService(w, r, parts[1])
	case len(parts) > 2:
		refuse(w, http.StatusBadRequest, "invalid URI")
	default:
		refuse(w, http.StatusMethodNotAllowed, "Invalid method")
	}
}

func (s *Sim) getService(w http.ResponseWriter, r *http.Request, name string) {
	q, ok := s.parseQuery(w, r)
	if !ok {
		return
	}
	if !s.mayReadServices(secret(r), q.namespace) {
		forbid(w)
		return
	}
	s.answerList(w, r, q, func() view {
		v := view{body: []byte("[]"), index: s.services.index}
		if sv := s.services.committed[q.namespace][name]; sv != nil {
			v.body, v.scope = sv.encodeGet(), sv.index
		}
		return v
	})
}

func (s *Sim) deleteService(w http.ResponseWriter, r *http.Request, id string) {
	q, ok := s.parseQuery(w, r)
	if !ok {
		return
	}
	if !s.may(secret(r), q.namespace, "submit-job") {
		forbid(w)
		return
	}
	if s.Deregister(q.namespace, id) == 0 {
		refuse(w, http.StatusNotFound, "service registration not found")
		return
	}
	w.Header().Set("X-Nomad-Index", fmt.Sprint(s.Index()))
}

// encode is json.Marshal for values that cannot fail.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// pathRest is what follows prefix in the path, unescaped.
func pathRest(u *url.URL, prefix string) string { return strings.TrimPrefix(u.Path, prefix) }

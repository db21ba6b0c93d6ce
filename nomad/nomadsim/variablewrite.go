package nomadsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"serai/nomad"
)

// writeVariable is the body of a write.
type writeVariable struct {
	Namespace string
	Items     map[string]string
	Lock      *lock
}

// write is a permitted write.
type write struct {
	key      variableKey
	body     writeVariable
	cas      bool
	casIndex uint64
	mayRead  bool
}

// parseWrite reads a write, or answers and returns false.
func (s *Sim) parseWrite(w http.ResponseWriter, r *http.Request, path, capability string) (write, bool) {
	var wr write
	p := r.URL.Query()
	if r.Method != http.MethodDelete {
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&wr.body); err != nil {
			refuse(w, http.StatusBadRequest, "%v", err)
			return wr, false
		}
	}
	if v := p.Get("cas"); v != "" {
		i, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, "can not parse cas: %v", err)
			return wr, false
		}
		wr.cas, wr.casIndex = true, i
	}
	wr.key = variableKey{cmpOr(wr.body.Namespace, cmpOr(p.Get("namespace"), nomad.DefaultNamespace)), path}

	token := secret(r)
	s.mu.Lock()
	leader := s.leader
	allowed := s.access.allowsVariable(token, wr.key.namespace, path, capability)
	wr.mayRead = s.access.allowsVariable(token, wr.key.namespace, path, "read")
	s.mu.Unlock()
	switch {
	case !leader:
		noLeader(w)
	case !allowed:
		forbid(w)
	case wr.key.namespace == nomad.AllNamespaces:
		refuse(w, http.StatusBadRequest, "can not target wildcard (\"*\")namespace")
	case r.Method != http.MethodDelete && !validPath.MatchString(path):
		refuse(w, http.StatusBadRequest, "invalid path %q", path)
	case size(wr.body.Items) > maxVariable:
		refuse(w, http.StatusBadRequest, "variables are limited to 64KiB in total size")
	default:
		return wr, true
	}
	return wr, false
}

// outdated reports whether the write is for another version than the current one, which
// is 0 for a missing variable.
func (wr *write) outdated(there *variable) bool {
	have := uint64(0)
	if there != nil {
		have = there.ModifyIndex
	}
	return wr.cas && have != wr.casIndex
}

func size(items map[string]string) int {
	n := 0
	for k, v := range items {
		n += len(k) + len(v)
	}
	return n
}

func (s *Sim) putVariable(w http.ResponseWriter, r *http.Request, path string) {
	op, ok := lockOperation(w, r)
	if !ok {
		return
	}
	wr, ok := s.parseWrite(w, r, path, "write")
	if !ok {
		return
	}
	switch {
	case op == "lock-acquire":
		s.acquire(w, wr)
		return
	case op == "lock-renew":
		s.renew(w, wr)
		return
	case op == "lock-release":
		s.release(w, wr)
		return
	case len(wr.body.Items) == 0:
		refuse(w, http.StatusBadRequest, "variable missing required Items object")
		return
	case wr.body.Lock != nil && (wr.body.Lock.TTL != 0 || wr.body.Lock.LockDelay != 0):
		refuse(w, http.StatusBadRequest, "variable should not contain lock definition")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.now())
	old := s.variables.rows[wr.key]
	if wr.outdated(old) {
		conflict(w, wr, old)
		return
	}
	if lockedAgainst(old, wr.body.Lock) {
		conflict(w, wr, nil)
		return
	}
	if wr.body.Lock != nil {
		wr.body.Lock.canonicalize()
	}
	written(w, s.store(wr, wr.body.Lock))
}

// store writes a variable. s.mu must be held.
func (s *Sim) store(wr write, l *lock) *variable {
	now := s.now().UnixNano()
	s.index++
	v := &variable{
		Namespace: wr.key.namespace, Path: wr.key.path, Lock: l, Items: wr.body.Items,
		CreateIndex: s.index, CreateTime: now, ModifyIndex: s.index, ModifyTime: now,
	}
	if old := s.variables.rows[wr.key]; old != nil {
		v.CreateIndex, v.CreateTime = old.CreateIndex, old.CreateTime
	}
	s.variables.rows[wr.key] = v
	s.touchVariable(wr.key)
	return v
}

// touchVariable records that a variable changed at s.index.
func (s *Sim) touchVariable(k variableKey) {
	s.variables.index = s.index
	s.variables.scopes[k.namespace] = s.index
	s.wake()
}

func (s *Sim) deleteVariable(w http.ResponseWriter, r *http.Request, path string) {
	wr, ok := s.parseWrite(w, r, path, "destroy")
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.now())
	old := s.variables.rows[wr.key]
	if wr.outdated(old) {
		conflict(w, wr, old)
		return
	}
	if lockedAgainst(old, nil) {
		conflict(w, wr, nil)
		return
	}
	if old != nil {
		s.index++
		delete(s.variables.rows, wr.key)
		s.variables.gone[wr.key] = s.index
		s.touchVariable(wr.key)
	}
	w.Header().Set("X-Nomad-Index", fmt.Sprint(s.index))
	w.WriteHeader(http.StatusNoContent)
}

// conflict answers 409 with the current variable: all of it if the token may read it,
// only its name when there is none or it is locked.
func conflict(w http.ResponseWriter, wr write, there *variable) {
	v := variable{Namespace: wr.key.namespace, Path: wr.key.path}
	if there != nil {
		v = *there
		if !wr.mayRead {
			v = there.meta(true)
		}
	}
	h := w.Header()
	h.Set("X-Nomad-Index", strconv.FormatUint(v.ModifyIndex, 10))
	h.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusConflict)
	w.Write(encode(v))
}

// written answers with what was written.
func written(w http.ResponseWriter, v *variable) {
	w.Header().Set("X-Nomad-Index", strconv.FormatUint(v.ModifyIndex, 10))
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(v))
}

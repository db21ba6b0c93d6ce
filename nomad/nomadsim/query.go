package nomadsim

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"serai/nomad"
)

// query has the parameters of a list.
type query struct {
	namespace string
	index     uint64
	wait      time.Duration
	stale     bool
	prefix    string
}

// parseQuery reads them, or answers 400 and returns false.
func (s *Sim) parseQuery(w http.ResponseWriter, r *http.Request) (query, bool) {
	p := r.URL.Query()
	q := query{namespace: p.Get("namespace"), wait: s.options.MaxWait, prefix: p.Get("prefix")}
	if q.namespace == "" {
		q.namespace = nomad.DefaultNamespace
	}
	if v, ok := p["stale"]; ok {
		q.stale = true
		if v[0] != "" {
			var err error
			if q.stale, err = strconv.ParseBool(v[0]); err != nil {
				refuse(w, http.StatusBadRequest, "Expect `true` or `false` for `stale` query string parameter")
				return q, false
			}
		}
	}
	if v := p.Get("wait"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			refuse(w, http.StatusBadRequest, "Invalid wait time")
			return q, false
		}
		if d > 0 {
			q.wait = min(d, s.options.MaxWait)
		}
	}
	if v := p.Get("index"); v != "" {
		i, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, "Invalid index")
			return q, false
		}
		q.index = i
	}
	return q, true
}

// view is the state at one moment, for an answer.
type view struct {
	status int // 0 means 200
	body   []byte
	// index is sent in the header: usually the whole table's.
	index uint64
	// scope is when the requested part last changed. Nomad wakes a blocked query only
	// for changes in its part, but compares the index of the whole table.
	scope uint64
	// never says that no change ends the wait, because nothing may be read.
	never bool
}

// answerList runs a possibly blocking query. look is called with s.mu held, again after
// each change, and returns bytes that nobody modifies.
func (s *Sim) answerList(w http.ResponseWriter, r *http.Request, q query, look func() view) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var deadline <-chan time.Time
	if q.index > 0 {
		t := time.NewTimer(q.wait)
		defer t.Stop()
		deadline = t.C
		s.counter.blocked.Add(1)
		defer s.counter.blocked.Add(-1)
	}

	var v view
	var leader bool
	var begun uint64 // the scope when the wait began
	var epoch int    // the number of restores then
	for first := true; ; first = false {
		s.mu.Lock()
		now := s.now()
		s.settle(now)
		if !s.leader && !q.stale {
			s.mu.Unlock()
			noLeader(w)
			return
		}
		v, leader = look(), s.leader
		changed, due, restored := s.changed, s.due(now), s.restored
		s.mu.Unlock()

		if first {
			begun, epoch = v.scope, restored
		}
		if q.index == 0 || restored != epoch || !v.never && v.index > q.index && (first || v.scope > begun) {
			break
		}
		var settle <-chan time.Time
		var t *time.Timer
		if due > 0 {
			t = time.NewTimer(due)
			settle = t.C
		}
		over := false
		select {
		case <-changed:
		case <-settle:
		case <-deadline:
			over = true
		case <-ctx.Done():
			return
		}
		if t != nil {
			t.Stop()
		}
		if over {
			break
		}
	}
	h := w.Header()
	h.Set("X-Nomad-Index", strconv.FormatUint(v.index, 10))
	h.Set("X-Nomad-KnownLeader", strconv.FormatBool(leader))
	h.Set("X-Nomad-LastContact", "0")
	if v.status != 0 {
		refuse(w, v.status, "%s", v.body)
		return
	}
	h.Set("Content-Type", "application/json")
	w.Write(v.body)
}

// pendingCommit is a change that was published but is not visible yet.
type pendingCommit struct {
	due   time.Time
	apply func()
}

// commit makes a change visible to lists, now or after the CommitDelay. s.mu
// must be held.
func (s *Sim) commit(apply func()) {
	if s.options.CommitDelay == 0 && len(s.pending) == 0 {
		apply()
	} else {
		s.pending = append(s.pending, pendingCommit{s.now().Add(s.options.CommitDelay), apply})
	}
	s.wake()
}

// settle applies everything that depends only on time: pending commits and expired
// locks. Only readers can see when it happened, so they call it. s.mu must be held.
func (s *Sim) settle(now time.Time) {
	for len(s.pending) > 0 && !s.pending[0].due.After(now) {
		s.pending[0].apply()
		s.pending = s.pending[1:]
	}
	s.settleLocks(now)
}

// due is the time until settle has something to do, 0 when nothing is pending. s.mu
// must be held.
func (s *Sim) due(now time.Time) time.Duration {
	var next time.Time
	if len(s.pending) > 0 {
		next = s.pending[0].due
	}
	if t := s.variables.nextRelease(); !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(now), time.Microsecond)
}

package consulsim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// view is one way to look at the state.
type view struct {
	index uint64
	// changed is when something of it has changed, which ends a wait.
	changed uint64
	// read returns the answer and whether the token hides a part of it. It is called
	// only when an answer is due.
	read func(a *authorizer) (answer any, hidden bool, err error)
}

type encodedAnswer struct {
	index, changed uint64
	body           []byte
	hidden         bool
}

// answerList runs a possibly blocking query. look is called with s.mu held, again after
// each change.
func (s *Sim) answerList(w http.ResponseWriter, r *http.Request, q query, look func() view) {
	if !s.awaitLeader(r, q.stale || q.streamed) {
		q.refuse(w, http.StatusInternalServerError, "No cluster leader")
		return
	}
	if q.datacenter != "" && q.datacenter != Datacenter {
		q.refuse(w, http.StatusInternalServerError, "No path to datacenter")
		return
	}
	deadline, stop := s.deadline(q)
	defer stop()
	epoch, begun := -1, uint64(0)
	for over := false; ; {
		s.mu.Lock()
		now := s.now()
		s.settle(now)
		v := look()
		v.index = max(v.index, 1)
		if epoch < 0 {
			epoch, begun = s.resets, v.changed
			over = v.index > q.index
		}
		answer := q.index == 0 || over || v.index > q.index && v.changed > begun || s.resets != epoch
		a, err := s.access.resolve(q.token)
		if err != nil && (answer || q.streamed) {
			s.mu.Unlock()
			if q.streamed {
				err = fmt.Errorf("rpc error: code = Unknown desc = %w", err)
			}
			q.refuse(w, http.StatusForbidden, "%v", err)
			return
		}
		if answer {
			found, err := s.encode(q, v, a)
			leader := s.leader
			s.mu.Unlock()
			if err != nil {
				refuse(w, http.StatusInternalServerError, "%v", err)
				return
			}
			s.writeList(w, q, found, leader)
			return
		}
		changed, due := s.changed, s.due(now)
		s.mu.Unlock()
		if over, err = sleep(r.Context(), changed, due, deadline); err != nil {
			panic(http.ErrAbortHandler) // an agent that ends answers nobody
		}
	}
}

// deadline is the end of a blocking query's wait: nil when it does not block. Consul
// adds up to a sixteenth, so that queries do not all end at once.
func (s *Sim) deadline(q query) (<-chan time.Time, func()) {
	if q.index == 0 {
		return nil, func() {}
	}
	t := time.NewTimer(q.wait + rand.N(q.wait/16+1))
	s.counter.blocked.Add(1)
	return t.C, func() {
		t.Stop()
		s.counter.blocked.Add(-1)
	}
}

// sleep waits for a change, or for the time when one is due, and reports whether the
// deadline has come.
func sleep(ctx context.Context, changed <-chan struct{}, due time.Duration, deadline <-chan time.Time) (over bool, err error) {
	var settle <-chan time.Time
	if due > 0 {
		t := time.NewTimer(due)
		defer t.Stop()
		settle = t.C
	}
	select {
	case <-changed:
	case <-settle:
	case <-deadline:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
}

// awaitLeader waits for a leader, as long as Consul holds a request for that, unless
// any server may answer, and reports whether there is one.
func (s *Sim) awaitLeader(r *http.Request, stale bool) bool {
	hold := time.NewTimer(s.options.Hold)
	defer hold.Stop()
	for over := false; ; {
		s.mu.Lock()
		leader, changed := s.leader, s.changed
		s.mu.Unlock()
		if leader || stale {
			return true
		}
		if over {
			return false
		}
		var err error
		if over, err = sleep(r.Context(), changed, 0, hold.C); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// encode reads and encodes an answer, once per change for everyone who asks the same.
// s.mu must be held.
func (s *Sim) encode(q query, v view, a *authorizer) (encodedAnswer, error) {
	if found, ok := s.encoded[q.key]; ok && found.index == v.index && found.changed == v.changed {
		return found, nil
	}
	answer, hidden, err := v.read(a)
	if err != nil {
		return encodedAnswer{}, err
	}
	found := encodedAnswer{v.index, v.changed, marshal(answer), hidden}
	if len(s.encoded) > 50_000 {
		clear(s.encoded)
	}
	s.encoded[q.key] = found
	return found, nil
}

func (s *Sim) writeList(w http.ResponseWriter, q query, found encodedAnswer, leader bool) {
	h := w.Header()
	h.Set("X-Consul-Index", strconv.FormatUint(found.index, 10))
	// What is streamed says neither who leads nor what the token hides.
	h.Set("X-Consul-KnownLeader", strconv.FormatBool(leader && !q.streamed))
	h.Set("X-Consul-LastContact", "0")
	if q.streamed {
		h.Set("X-Consul-Query-Backend", "streaming")
	} else {
		h.Set("X-Consul-Query-Backend", "blocking-query")
	}
	switch {
	case q.stale:
		h.Set("X-Consul-Effective-Consistency", "stale")
	case q.consistent:
		h.Set("X-Consul-Effective-Consistency", "consistent")
	default:
		h.Set("X-Consul-Effective-Consistency", "leader")
	}
	if found.hidden && q.token != "" && !q.streamed {
		h.Set("X-Consul-Results-Filtered-By-ACLs", "true")
	}
	h.Set("Content-Type", "application/json")
	w.Write(found.body)
}

// refuse is refuse, with the head that such a query's refusals have.
func (q query) refuse(w http.ResponseWriter, status int, format string, args ...any) {
	if q.early {
		h := w.Header()
		h.Set("X-Consul-Index", "1")
		h.Set("X-Consul-KnownLeader", "false")
		h.Set("X-Consul-LastContact", "0")
		h.Set("X-Consul-Query-Backend", "blocking-query")
	}
	refuse(w, status, format, args...)
}

// writeJSON answers 200 and a value.
func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(marshal(v))
}

// marshal is json.Marshal for values that cannot fail.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// nearFirst puts what is on the agent's own node before everything else, if near names
// it. Of no other node a single agent knows how far it is, so near says nothing of them.
func nearFirst[T any](near, own string, all []T, node func(T) string) {
	if near == "" || key(near) != key(own) {
		return
	}
	rank := func(v T) int {
		if key(node(v)) == key(own) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b T) int { return rank(a) - rank(b) })
}

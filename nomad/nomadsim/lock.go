package nomadsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// lock is the lock of a variable in the API.
type lock struct {
	ID        string
	TTL       duration
	LockDelay duration
}

// duration is a string like "15s" in the API; a number of nanoseconds is accepted, too.
type duration time.Duration

func (d duration) MarshalJSON() ([]byte, error) {
	if d == 0 {
		return []byte(`""`), nil
	}
	return json.Marshal(time.Duration(d).String())
}

func (d *duration) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
	case float64:
		*d = duration(v)
	case string:
		if v == "" {
			return nil
		}
		t, err := time.ParseDuration(v)
		*d = duration(t)
		return err
	default:
		return errors.New("a duration is a string or a number")
	}
	return nil
}

// lockClock is the time until a lock expires: twice its TTL since it was acquired or
// renewed.
type lockClock struct {
	key     variableKey
	delay   time.Duration
	expires time.Time
}

// lockRelease is the release of an expired lock, one delay later.
type lockRelease struct {
	key variableKey
	at  time.Time
}

func (l *lock) canonicalize() {
	if l.ID == "" {
		l.ID = fmt.Sprintf("lock-%d", time.Now().UnixNano())
	}
	if l.TTL == 0 {
		l.TTL = duration(15 * time.Second)
	}
	if l.LockDelay == 0 {
		l.LockDelay = duration(15 * time.Second)
	}
}

// lockedAgainst reports whether v is locked by another holder than l.
func lockedAgainst(v *variable, l *lock) bool {
	return v != nil && v.Lock != nil && (l == nil || l.ID != v.Lock.ID)
}

// lockOperation is the operation that the parameters ask for, or "". It answers 400 to
// two at once.
func lockOperation(w http.ResponseWriter, r *http.Request) (string, bool) {
	p := r.URL.Query()
	var op string
	for _, name := range []string{"lock-acquire", "lock-renew", "lock-release"} {
		if !p.Has(name) {
			continue
		}
		if op != "" {
			refuse(w, http.StatusBadRequest, "multiple lock operations")
			return "", false
		}
		op = name
	}
	if op != "" && p.Get("cas") != "" {
		refuse(w, http.StatusBadRequest, "CAS can't be used with lock operations")
		return "", false
	}
	return op, true
}

// acquire overwrites the variable's items, as Nomad does. Acquiring again with the same
// ID succeeds but does not restart the clock: only renewing does.
func (s *Sim) acquire(w http.ResponseWriter, wr write) {
	l := wr.body.Lock
	if l == nil {
		l = &lock{}
	}
	l.canonicalize()
	if ttl := time.Duration(l.TTL); ttl < s.options.MinLockTTL || ttl > 24*time.Hour || l.LockDelay < 0 {
		refuse(w, http.StatusBadRequest, "TTL must be between 10 seconds and 24 hours")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.settle(now)
	if lockedAgainst(s.variables.rows[wr.key], l) {
		conflict(w, wr, nil)
		return
	}
	v := s.store(wr, l)
	if _, running := s.variables.clocks[l.ID]; !running {
		s.variables.clocks[l.ID] = lockClock{key: wr.key, delay: time.Duration(l.LockDelay), expires: now.Add(2 * time.Duration(l.TTL))}
	}
	written(w, v)
}

// renew restarts the clock. An expired lock cannot be renewed, although nobody else can
// acquire it before the delay is over.
func (s *Sim) renew(w http.ResponseWriter, wr write) {
	if wr.body.Lock == nil || wr.body.Lock.ID == "" {
		refuse(w, http.StatusBadRequest, "missing lock ID")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.settle(now)
	v := s.variables.rows[wr.key]
	switch {
	case v == nil:
		refuse(w, http.StatusNotFound, "variable doesn't exist")
		return
	case v.Lock == nil:
		refuse(w, http.StatusConflict, "variable doesn't hold a lock")
		return
	case v.Lock.ID != wr.body.Lock.ID:
		refuse(w, http.StatusConflict, "attempting to modify locked variable")
		return
	}
	clock, running := s.variables.clocks[v.Lock.ID]
	if !running {
		refuse(w, http.StatusConflict, "attempting to modify locked variable")
		return
	}
	clock.expires = now.Add(2 * time.Duration(v.Lock.TTL))
	s.variables.clocks[v.Lock.ID] = clock
	s.wake() // blocked queries must compute the next release again
	m := v.meta(true)
	written(w, &m)
}

// release releases a lock at once and keeps the items.
func (s *Sim) release(w http.ResponseWriter, wr write) {
	switch {
	case wr.body.Lock == nil || wr.body.Lock.ID == "":
		refuse(w, http.StatusBadRequest, "missing lock information")
		return
	case wr.body.Items != nil:
		refuse(w, http.StatusBadRequest, "lock release operation doesn't take variable items")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.now())
	v := s.variables.rows[wr.key]
	switch {
	// 500 and not 409, like Nomad.
	case v == nil:
		refuse(w, http.StatusInternalServerError, "variable doesn't exist")
		return
	case v.Lock == nil:
		refuse(w, http.StatusInternalServerError, "variable doesn't hold a lock")
		return
	case v.Lock.ID != wr.body.Lock.ID:
		conflict(w, wr, nil)
		return
	}
	delete(s.variables.clocks, v.Lock.ID)
	free := s.unlock(wr.key)
	m := free.meta(false)
	written(w, &m)
}

// unlock removes the lock of a variable. s.mu must be held.
func (s *Sim) unlock(k variableKey) *variable {
	free := *s.variables.rows[k]
	free.Lock = nil
	s.index++
	free.ModifyIndex = s.index
	s.variables.rows[k] = &free
	s.touchVariable(k)
	return &free
}

// settleLocks expires and releases locks. A release removes whatever lock the variable
// has by then, also one that was acquired again after it expired: Nomad's timer does
// not compare the ID.
func (s *Sim) settleLocks(now time.Time) {
	t := &s.variables
	for id, c := range t.clocks {
		if !c.expires.After(now) {
			delete(t.clocks, id)
			t.releases = append(t.releases, lockRelease{c.key, c.expires.Add(c.delay)})
		}
	}
	t.releases = slices.DeleteFunc(t.releases, func(r lockRelease) bool {
		if r.at.After(now) {
			return false
		}
		if v := t.rows[r.key]; v != nil && v.Lock != nil {
			s.unlock(r.key)
		}
		return true
	})
}

// nextRelease is when settleLocks next has something to do, or zero.
func (t *variableTable) nextRelease() time.Time {
	var next time.Time
	sooner := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, c := range t.clocks {
		sooner(c.expires)
	}
	for _, r := range t.releases {
		sooner(r.at)
	}
	return next
}

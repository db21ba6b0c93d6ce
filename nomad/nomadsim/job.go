package nomadsim

import (
	"net/http"
	"time"

	"serai/nomad"
)

// jobTable holds what tasks are given between signal and kill, which is all
// that anyone reads of jobs. Guarded by Sim.mu.
type jobTable struct {
	killTimeouts map[nomad.Task]time.Duration
	index        uint64
}

func (t *jobTable) init() { t.killTimeouts = map[nomad.Task]time.Duration{} }

// PutTask makes or changes a task, and with it its job and group.
func (s *Sim) PutTask(t nomad.Task, killTimeout time.Duration) uint64 {
	if t.Namespace == "" {
		t.Namespace = nomad.DefaultNamespace
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	s.jobs.killTimeouts[t] = killTimeout
	s.jobs.index = s.index
	s.wake()
	return s.index
}

// taskAnswer and groupAnswer are parts of a job on the wire.
type (
	taskAnswer struct {
		Name        string
		KillTimeout time.Duration // nanoseconds
	}
	groupAnswer struct {
		Name  string
		Tasks []taskAnswer
	}
)

// job is GET /v1/job/ID.
func (s *Sim) job(w http.ResponseWriter, r *http.Request) {
	id := pathRest(r.URL, "/v1/job/")
	q, ok := s.parseQuery(w, r)
	if !ok {
		return
	}
	if !s.may(secret(r), q.namespace, "read-job") {
		forbid(w)
		return
	}
	s.answerList(w, r, q, func() view {
		groups := map[string][]taskAnswer{}
		for t, killTimeout := range s.jobs.killTimeouts {
			if t.Namespace == q.namespace && t.Job == id {
				groups[t.Group] = append(groups[t.Group], taskAnswer{t.Name, killTimeout})
			}
		}
		if len(groups) == 0 {
			return view{status: http.StatusNotFound, body: []byte("job not found"), scope: s.jobs.index}
		}
		list := make([]groupAnswer, 0, len(groups))
		for name, tasks := range groups {
			list = append(list, groupAnswer{name, tasks})
		}
		body := encode(struct {
			ID, Name, Namespace string
			TaskGroups          []groupAnswer
		}{id, id, q.namespace, list})
		return view{body: body, index: s.jobs.index, scope: s.jobs.index}
	})
}

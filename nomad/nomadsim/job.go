package nomadsim

import (
	"net/http"
	"slices"
	"time"

	"serai/nomad"
)

// Job is a job that the simulator knows. An empty field gets the agent's default.
type Job struct {
	Namespace, ID string
	// Type is service, batch, system or sysbatch; Status pending, running or
	// dead.
	Type, Status string
	// Stopped is set by `nomad job stop`.
	Stopped bool
	Groups  []Group

	derived bool // made from its registrations, and not by PutJob
}

// Group is a group of a job.
type Group struct {
	Name string
	// Count is the number of wanted instances; 0 is scaled to zero.
	Count    int
	Services []nomad.JobService
	Tasks    []JobTask
}

// JobTask is a task of a group.
type JobTask struct {
	Name        string
	KillTimeout time.Duration
	Services    []nomad.JobService
}

// jobTable has the jobs. Guarded by Sim.mu.
type jobTable struct {
	jobs  map[jobKey]Job
	index uint64
}

type jobKey struct{ namespace, id string }

func (t *jobTable) init() { t.jobs = map[jobKey]Job{} }

// PutJob makes or changes a job. It starts and stops nothing.
func (s *Sim) PutJob(j Job) uint64 {
	j.Namespace = cmpOr(j.Namespace, nomad.DefaultNamespace)
	j.Type, j.Status = cmpOr(j.Type, "service"), cmpOr(j.Status, "running")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putJob(j)
}

func (s *Sim) putJob(j Job) uint64 {
	s.index++
	s.jobs.jobs[jobKey{j.Namespace, j.ID}] = j
	s.jobs.index = s.index
	s.wake()
	return s.index
}

// deriveJob updates the job of a registration to one that could have made it, unless
// PutJob has made it: in a cluster nothing is registered without a job. s.mu is held.
func (s *Sim) deriveJob(r *nomad.Registration) {
	key := jobKey{r.Namespace, r.JobID}
	j, ok := s.jobs.jobs[key]
	if r.JobID == "" || ok && !j.derived {
		return
	}
	services := []nomad.JobService{{Name: r.ServiceName, Tags: r.Tags}}
	if ok {
		for _, old := range j.Groups[0].Services {
			if old.Name != r.ServiceName {
				services = append(services, old)
			}
		}
	}
	s.jobs.jobs[key] = Job{Namespace: r.Namespace, ID: r.JobID, Type: "service", Status: "running", derived: true,
		Groups: []Group{{Name: "group", Count: 1, Services: services}}}
	s.jobs.index = s.index
}

// PurgeJob removes a job, like `nomad job stop -purge`.
func (s *Sim) PurgeJob(namespace, id string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	delete(s.jobs.jobs, jobKey{cmpOr(namespace, nomad.DefaultNamespace), id})
	s.jobs.index = s.index
	s.wake()
	return s.index
}

// PutTask makes or changes a task, and with it its job and group.
func (s *Sim) PutTask(t nomad.Task, killTimeout time.Duration) uint64 {
	t.Namespace = cmpOr(t.Namespace, nomad.DefaultNamespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.jobs.jobs[jobKey{t.Namespace, t.Job}]
	if !ok {
		j = Job{Namespace: t.Namespace, ID: t.Job, Type: "service", Status: "running"}
	}
	j.Groups = slices.Clone(j.Groups)
	at := slices.IndexFunc(j.Groups, func(g Group) bool { return g.Name == t.Group })
	if at < 0 {
		at = len(j.Groups)
		j.Groups = append(j.Groups, Group{Name: t.Group, Count: 1})
	}
	g := &j.Groups[at]
	g.Tasks = slices.DeleteFunc(slices.Clone(g.Tasks), func(old JobTask) bool { return old.Name == t.Name })
	g.Tasks = append(g.Tasks, JobTask{Name: t.Name, KillTimeout: killTimeout})
	return s.putJob(j)
}

// serviceBody, taskBody and groupBody are parts of a job in the API.
type (
	serviceBody struct {
		Name, Provider   string
		Tags, CanaryTags []string
	}
	taskBody struct {
		Name        string
		KillTimeout time.Duration // nanoseconds
		Services    []serviceBody
	}
	groupBody struct {
		Name     string
		Count    int
		Services []serviceBody
		Tasks    []taskBody
	}
)

func serviceBodies(services []nomad.JobService) (all []serviceBody) {
	for _, s := range services {
		all = append(all, serviceBody{s.Name, "nomad", s.Tags, s.CanaryTags})
	}
	return all
}

func (j *Job) encode() []byte {
	var groups []groupBody
	for _, g := range j.Groups {
		body := groupBody{g.Name, g.Count, serviceBodies(g.Services), nil}
		for _, t := range g.Tasks {
			body.Tasks = append(body.Tasks, taskBody{t.Name, t.KillTimeout, serviceBodies(t.Services)})
		}
		groups = append(groups, body)
	}
	return encode(struct {
		ID, Name, Namespace, Type, Status string
		Stop                              bool
		TaskGroups                        []groupBody
	}{j.ID, j.ID, j.Namespace, j.Type, j.Status, j.Stopped, groups})
}

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
		j, ok := s.jobs.jobs[jobKey{q.namespace, id}]
		if !ok {
			return view{status: http.StatusNotFound, body: []byte("job not found"), index: s.jobs.index, scope: s.jobs.index}
		}
		return view{body: j.encode(), index: s.jobs.index, scope: s.jobs.index}
	})
}

package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Task names a task of a job.
type Task struct{ Namespace, Job, Group, Name string }

// KillTimeout reads how long a task has between the stop signal and the kill, according
// to its job. The agent's max_kill_timeout may permit less. It needs read-job.
// Source: https://developer.hashicorp.com/nomad/api-docs/jobs#read-job.
func (c *Client) KillTimeout(ctx context.Context, t Task) (time.Duration, error) {
	r := jobRequest(t.Job, Query{Namespace: t.Namespace, Stale: true})
	var job struct {
		TaskGroups []struct {
			Name  string
			Tasks []struct {
				Name        string
				KillTimeout time.Duration
			}
		}
	}
	err := c.do(ctx, r, func(_ http.Header, body []byte) error { return c.decode(r, body, &job) })
	if err != nil {
		return 0, err
	}
	for _, group := range job.TaskGroups {
		for _, task := range group.Tasks {
			if group.Name == t.Group && task.Name == t.Name {
				return task.KillTimeout, nil
			}
		}
	}
	return 0, r.fail(ErrNotFound, http.StatusOK, fmt.Errorf("the job has no task %q in group %q", t.Name, t.Group))
}

// jobRequest makes a request about one job.
func jobRequest(id string, q Query) *request {
	r := &request{kind: KindJob, op: fmt.Sprintf("read job %q in namespace %q", id, orDefault(q.Namespace)),
		method: http.MethodGet, path: "/v1/job/" + url.PathEscape(id), params: url.Values{}}
	r.query(q)
	return r
}

// JobService is a service that instances of a job register.
type JobService struct {
	// Name and the tags may contain ${...}, which is replaced on the node.
	Name string
	// Tags are the tags of an instance, CanaryTags those of a canary.
	Tags, CanaryTags []string
}

// jobAnswer is the part of a job that says what it should run.
type jobAnswer struct {
	ID, Namespace, Type, Status string
	Stop                        bool
	TaskGroups                  []struct {
		Count    int
		Services []serviceAnswer
		Tasks    []struct{ Services []serviceAnswer }
	}
}

type serviceAnswer struct {
	Name, Provider   string
	Tags, CanaryTags []string
}

// JobServices reads which services a job should register with Nomad: none when it is
// stopped, scaled to zero, or done. ErrNotFound means that it was purged. It needs
// read-job.
// Source: https://developer.hashicorp.com/nomad/api-docs/jobs#read-job.
func (c *Client) JobServices(ctx context.Context, id string, q Query) ([]JobService, error) {
	r := jobRequest(id, q)
	var job jobAnswer
	err := c.do(ctx, r, func(_ http.Header, body []byte) error {
		if err := c.decode(r, body, &job); err != nil {
			return err
		}
		if job.ID != id || job.Namespace != orDefault(q.Namespace) {
			return insane(r, "the answer has job %q of namespace %q", job.ID, job.Namespace)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return job.services(), nil
}

// JobUnknown reports whether an error is Nomad's statement that there is no such job. A
// proxy in front of Nomad may also answer 404, to anything that it does not know.
func JobUnknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound && strings.Contains(e.Body, "job not found")
}

func (j *jobAnswer) services() (all []JobService) {
	// "dead" is the end only for a batch job: a service that waits for its next
	// allocation is also dead for a moment.
	done := j.Status == "dead" && (j.Type == "batch" || j.Type == "sysbatch")
	if j.Stop || done {
		return nil
	}
	for _, g := range j.TaskGroups {
		if g.Count == 0 && j.Type != "system" && j.Type != "sysbatch" {
			continue
		}
		services := g.Services
		for _, t := range g.Tasks {
			services = slices.Concat(services, t.Services)
		}
		for _, s := range services {
			if s.Provider == "nomad" {
				all = append(all, JobService{s.Name, s.Tags, s.CanaryTags})
			}
		}
	}
	return all
}

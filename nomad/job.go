package nomad

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Task names a task of a job.
type Task struct{ Namespace, Job, Group, Name string }

// KillTimeout reads how long a task has between the signal to stop and the
// kill, as its job says. The agent's max_kill_timeout may allow less. It needs
// read-job.
// Source: https://developer.hashicorp.com/nomad/api-docs/jobs#read-job.
func (c *Client) KillTimeout(ctx context.Context, t Task) (time.Duration, error) {
	r := &request{kind: KindJob, op: fmt.Sprintf("read job %q in namespace %q", t.Job, orDefault(t.Namespace)),
		method: http.MethodGet, path: "/v1/job/" + url.PathEscape(t.Job), params: url.Values{}}
	r.query(Query{Namespace: t.Namespace, Stale: true})
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

package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// job is a service on a real Nomad. It is deployed as operators do it: by registering
// its next version.
type job struct {
	agent *agent
	id    string
	spec  jobSpec
}

// jobSpec is what a scenario changes in a job.
type jobSpec struct {
	version    int // in its meta: another one replaces all instances
	count      int
	tags       []string
	delay      time.Duration // shutdown_delay
	canaries   int
	canaryTags []string
	command    string
	args       []string
}

// jobTimeout bounds each wait for Nomad.
const jobTimeout = 5 * time.Minute

// body is the job as Nomad's API has it: no check, and a
// task that has 5 s to end.
func (j *job) body() any {
	type m map[string]any
	s := &j.spec
	return m{"Job": m{
		"ID": j.id, "Name": j.id, "Type": "service", "Datacenters": []string{"*"}, "Meta": m{"version": fmt.Sprint(s.version)},
		"Update": m{
			"MaxParallel": 1, "HealthCheck": "task_states", "MinHealthyTime": healthy, "HealthyDeadline": time.Minute,
			"ProgressDeadline": 2 * time.Minute, "Canary": s.canaries,
		},
		"TaskGroups": []m{{
			"Name": "web", "Count": s.count, "ShutdownDelay": s.delay,
			"Spreads":       []m{{"Attribute": "${node.unique.id}", "Weight": 100}},
			"Networks":      []m{{"DynamicPorts": []m{{"Label": "http"}}}},
			"RestartPolicy": m{"Attempts": 1000, "Interval": time.Hour, "Delay": 300 * time.Millisecond, "Mode": "delay"},
			"Tasks": []m{{
				"Name": "web", "Driver": "raw_exec", "KillTimeout": 5 * time.Second,
				"Config":    m{"command": s.command, "args": s.args},
				"Resources": m{"CPU": 20, "MemoryMB": 64},
				"Services":  []m{{"Name": "web", "Provider": "nomad", "PortLabel": "http", "Tags": s.tags, "CanaryTags": s.canaryTags}},
			}},
		}},
	}}
}

// deploy registers the job and waits until its deployment has succeeded, or,
// where it has canaries, until they are to be promoted.
func (j *job) deploy(ctx context.Context, change func(*jobSpec)) error {
	change(&j.spec)
	return j.register(ctx, j.body())
}

// register does so with a body of the API.
func (j *job) register(ctx context.Context, body any) error {
	if err := j.agent.do(ctx, http.MethodPut, "/v1/jobs", body); err != nil {
		return err
	}
	var now struct{ Version uint64 }
	if err := j.agent.get(ctx, "/v1/job/"+j.id, &now); err != nil {
		return err
	}
	return j.await(ctx, func(d *deployment) bool {
		return d.JobVersion == now.Version && (d.Status == "successful" || d.awaitsPromotion())
	})
}

// promote promotes the canaries and waits for the end of the deployment.
func (j *job) promote(ctx context.Context) error {
	var d deployment
	if err := j.agent.get(ctx, "/v1/job/"+j.id+"/deployment", &d); err != nil {
		return err
	}
	// An in-place change of tags is all that promotion means to discovery.
	if err := j.agent.do(ctx, http.MethodPut, "/v1/deployment/promote/"+d.ID, map[string]any{"DeploymentID": d.ID, "All": true}); err != nil {
		return err
	}
	return j.await(ctx, func(now *deployment) bool { return now.ID == d.ID && now.Status == "successful" })
}

// deployment is what Nomad says about a deployment.
type deployment struct {
	ID, Status string
	JobVersion uint64
	TaskGroups map[string]struct {
		DesiredCanaries, HealthyAllocs int
		Promoted                       bool
	}
}

func (d *deployment) awaitsPromotion() bool {
	g := d.TaskGroups["web"]
	return d.Status == "running" && g.DesiredCanaries > 0 && !g.Promoted && g.HealthyAllocs >= g.DesiredCanaries
}

func (j *job) await(ctx context.Context, reached func(*deployment) bool) error {
	var d deployment
	for end := time.Now().Add(jobTimeout); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		// Servers without a leader answer errors for a while.
		if err := j.agent.get(ctx, "/v1/job/"+j.id+"/deployment", &d); err == nil && reached(&d) {
			return nil
		}
	}
	return fmt.Errorf("the deployment of %s does not end: it is %q", j.id, d.Status)
}

// allocation is what Nomad says about an allocation.
type allocation struct{ ID, NodeID, DesiredStatus, ClientStatus string }

// allocs returns the allocations that run.
func (j *job) allocs(ctx context.Context) (running []allocation, err error) {
	var all []allocation
	if err := j.agent.get(ctx, "/v1/job/"+j.id+"/allocations", &all); err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.DesiredStatus == "run" && a.ClientStatus == "running" {
			running = append(running, a)
		}
	}
	return running, nil
}

// on returns the ID of the allocation that runs on a node, empty when none does.
func (j *job) on(ctx context.Context, node string) (string, error) {
	all, err := j.allocs(ctx)
	if i := slices.IndexFunc(all, func(a allocation) bool { return a.NodeID == node }); i >= 0 {
		return all[i].ID, err
	}
	return "", err
}

// signal sends a signal to the task of an allocation.
func (j *job) signal(ctx context.Context, alloc, signal string) error {
	return j.agent.do(ctx, http.MethodPut, "/v1/client/allocation/"+alloc+"/signal", map[string]any{"Signal": signal, "Task": "web"})
}

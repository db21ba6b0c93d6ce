package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"serai/jobs"
)

// ingressJob is serai as operators run it: our job file, a system job, on each node of
// a real Nomad.
type ingressJob struct {
	job
	parsed  map[string]any // the job file, as Nomad has it
	version int            // in its meta: another one replaces all of it
}

// ingressPort is what the job file listens on, where nobody says otherwise.
const ingressPort = "80"

// newIngressJob reads the job file, adds flags, and gives the job its policy. It does
// not start it.
func newIngressJob(ctx context.Context, nomad *agent, flags []string) (*ingressJob, error) {
	s := &ingressJob{job: job{agent: nomad, id: "serai"}}
	request := map[string]any{"JobHCL": jobs.SeraiRawExec, "Variables": fmt.Sprintf("binary = %q\nargs = []", nomad.binary), "Canonicalize": true}
	if err := nomad.call(ctx, http.MethodPost, "/v1/jobs/parse", request, &s.parsed); err != nil {
		return nil, err
	}
	config, ok := at(s.parsed, "TaskGroups", "Tasks")["Config"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("no task in serai's job file as Nomad reads it: %v", s.parsed)
	}
	args, _ := config["args"].([]any)
	for _, f := range flags {
		args = append(args, f)
	}
	config["args"] = args
	return s, nomad.do(ctx, http.MethodPut, "/v1/acl/policy/serai-job", map[string]any{
		"Name": "serai-job", "Rules": jobs.SeraiPolicy, "JobACL": map[string]string{"Namespace": "default", "JobID": s.id},
	})
}

// at goes down through the first element of each list; the map is nil where
// there is none.
func at(m map[string]any, lists ...string) map[string]any {
	for _, name := range lists {
		list, _ := m[name].([]any)
		if len(list) == 0 {
			return nil
		}
		m, _ = list[0].(map[string]any)
	}
	return m
}

// update registers the job with another meta, and waits until its deployment has
// reached all nodes.
func (s *ingressJob) update(ctx context.Context) error {
	s.version++
	s.parsed["Meta"] = map[string]string{"version": fmt.Sprint(s.version)}
	return s.register(ctx, map[string]any{"Job": s.parsed})
}

// ingresses returns where the job listens: on each node.
func (s *servers) ingresses() (nodes []*ingress) {
	for _, c := range s.clients {
		nodes = append(nodes, &ingress{address: net.JoinHostPort(c.ip, ingressPort), space: c.space})
	}
	return nodes
}

package main

import (
	"context"
	"fmt"
	"slices"
)

// playReal prepares the testbed on a real Nomad: the instances are those of a job.
func (c *faultsCommand) playReal(ctx context.Context, s scenario, nomad *agent, own *servers) (result, error) {
	if (s.servers || s.network) && own == nil {
		return result{}, fmt.Errorf("%w: it needs servers and nodes of its own, see --agents", errSkipped)
	}
	if s.network {
		return c.playNodes(ctx, s)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st := &testbed{ctx: ctx, rounds: c.Rounds, tags: tagsOf(&s), servers: own, job: newJob(nomad, &s)}
	defer nomad.stop(st.job.id)
	if err := st.deployInstances(&s); err != nil {
		return result{}, err
	}
	if own != nil {
		s.flags = append(slices.Clone(s.flags), "NOMAD_TOKEN=", "NOMAD_SECRETS_DIR="+own.dir)
	}
	return c.perform(st, &s, nomad.address, nomad.token)
}

// playNodes does so on three nodes, each with a network of its own, where Nomad
// runs serai too.
func (c *faultsCommand) playNodes(ctx context.Context, s scenario) (result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	network, err := newNetwork()
	if err != nil {
		return result{}, err
	}
	defer network.End()
	own, err := startServers(ctx, c.Agents, c.Binary, network)
	if err != nil {
		return result{}, err
	}
	defer own.end()
	st := &testbed{ctx: ctx, rounds: c.Rounds, tags: tagsOf(&s), servers: own, network: network, job: newJob(own.agent, &s)}
	defer own.agent.stop(st.job.id)
	if err := st.deployInstances(&s); err != nil {
		return result{}, err
	}
	if st.ingress, err = newIngressJob(ctx, own.agent, s.flags); err != nil {
		return result{}, err
	}
	defer own.agent.stop(st.ingress.id)
	if err := st.ingress.update(ctx); err != nil {
		return result{}, err
	}
	st.nodes = own.ingresses()
	return c.perform(st, &s, own.agent.address, own.agent.token)
}

func newJob(nomad *agent, s *scenario) *job {
	return &job{agent: nomad, id: "loadtest-" + fileName(s.name)}
}

// deployInstances runs the job with the scenario's instances.
func (s *testbed) deployInstances(sc *scenario) error {
	return s.job.deploy(s.ctx, func(j *jobSpec) {
		*j = jobSpec{count: sc.count, tags: s.tags, delay: sc.delay, command: s.job.agent.binary, args: []string{"hello", "--addr=:${NOMAD_PORT_http}"}}
	})
}

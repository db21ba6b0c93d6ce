package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// faultsCommand changes a cluster under constant load, and counts every answer that is
// not the instance's own 200. The cluster is the simulator with processes as instances,
// or a real Nomad.
type faultsCommand struct {
	Nomad  string   `help:"A real agent on this machine, http://HOST:PORT, with raw_exec; NOMAD_TOKEN may be needed." placeholder:"ADDR"`
	Agents string   `help:"A nomad binary: servers and clients are started, as root, so that servers and nodes can fail too." placeholder:"PATH"`
	Binary string   `help:"serai; built when empty." placeholder:"PATH"`
	Rate   int      `default:"300" help:"Requests a second, of each kind of client."`
	Rounds int      `default:"20" help:"Repetitions of the scenarios that are repeated, and 500 requests for each."`
	Only   []string `help:"Scenarios whose name contains one of these." placeholder:"WORD,..."`
	JSON   string   `name:"json" help:"Also write the results to this file." placeholder:"FILE"`
	Draw   string   `help:"Also draw a timeline of each scenario into this directory, as SVG." placeholder:"DIR"`
}

// Run runs the scenarios one after the other, and fails when a promise is
// broken.
func (c *faultsCommand) Run(ctx context.Context) error {
	if c.Draw != "" {
		if err := os.MkdirAll(c.Draw, 0o755); err != nil {
			return err
		}
	}
	remove, err := needSerai(ctx, &c.Binary)
	if err != nil {
		return err
	}
	defer remove()
	play, list, end, err := c.ground(ctx)
	if err != nil {
		return err
	}
	defer end()
	var results []result
	var broken []string
	for _, s := range list {
		if !wanted(c.Only, s.name) || ctx.Err() != nil {
			continue
		}
		if s.long && c.Rounds == 1 {
			fmt.Printf("skipped %s: not with --rounds=1\n", s.name)
			continue
		}
		r, err := play(ctx, s)
		if errors.Is(err, errSkipped) {
			fmt.Printf("skipped %s: %v\n", s.name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		verdict := "kept"
		switch {
		case s.shows:
			verdict = "shown"
		case !r.kept():
			verdict = "BROKEN"
			broken = slices.Concat(broken, []string{r.String()}, r.details())
		}
		fmt.Printf("%-7s %s\n", verdict, r.String())
		for _, line := range r.details() {
			fmt.Printf("%-7s   %s\n", "", line)
		}
		results = append(results, r)
		if c.Draw != "" {
			if err := drawTimeline(c.Draw, &r); err != nil {
				return fmt.Errorf("draw a timeline: %w", err)
			}
		}
	}
	if err := writeJSON(c.JSON, results); err != nil {
		return err
	}
	if len(broken) > 0 {
		return fmt.Errorf("promises were broken:\n%s", strings.Join(broken, "\n"))
	}
	return ctx.Err()
}

// ground returns the scenarios, and a function that plays one.
func (c *faultsCommand) ground(ctx context.Context) (play func(context.Context, scenario) (result, error), list []scenario, end func(), err error) {
	end = func() {}
	var own *servers
	nomad := &agent{address: c.Nomad, token: os.Getenv("NOMAD_TOKEN"), binary: c.Binary}
	switch {
	case c.Agents != "":
		if own, err = startServers(ctx, c.Agents, c.Binary, nil); err != nil {
			return nil, nil, nil, err
		}
		nomad, end = own.agent, own.end
	case c.Nomad == "":
		return c.playSimulated, scenarios(), end, nil
	}
	return func(ctx context.Context, s scenario) (result, error) { return c.playReal(ctx, s, nomad, own) }, realScenarios(), end, nil
}

// playSimulated prepares the testbed of a scenario, runs it under load, and clears
// it.
func (c *faultsCommand) playSimulated(ctx context.Context, s scenario) (result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sim, url, err := startSimulator(ctx)
	if err != nil {
		return result{}, err
	}
	st := &testbed{simJobs: &simJobs{sim: sim.sim, binary: c.Binary, delay: s.delay}, ctx: ctx, rounds: c.Rounds, tags: tagsOf(&s)}
	if s.network {
		if st.network, err = newNetwork(); err != nil {
			return result{}, err
		}
		defer st.network.End()
		st.place = placeOn(st.network)
		if s.onBridge {
			s.flags = append(slices.Clone(s.flags), "--http="+st.network.Host+":18080")
		}
	}
	if s.token != "" {
		sim.sim.SetACL(true)
		sim.sim.PutToken(reader(s.token))
	}
	defer func() {
		for _, i := range st.instances {
			i.kill()
		}
	}()
	for range s.count {
		if err := st.add(st.tags...); err != nil {
			return result{}, err
		}
	}
	return c.perform(st, &s, url, s.token)
}

// tagsOf returns the tags of a scenario's instances.
func tagsOf(s *scenario) []string {
	if s.traefik {
		return slices.Clone(traefikTags)
	}
	tags := append([]string{host}, s.tags...)
	if s.http2 {
		tags = append(tags, "ingress.scheme=grpc")
	}
	return tags
}

// perform runs serai and the steps of a scenario, under load.
func (c *faultsCommand) perform(st *testbed, s *scenario, nomadURL, token string) (result, error) {
	at, err := st.startNodes(c.Binary, s, nomadURL, token)
	for _, n := range st.nodes {
		defer n.stop()
	}
	if err != nil {
		return result{}, err
	}
	end, err := st.startClients(s, at, c.Rate)
	if err != nil {
		return result{}, err
	}
	time.Sleep(time.Second)
	for {
		err = s.steps(st)
		if err != nil || s.once || st.load.requests() >= c.Rounds*requestsOfRound || st.ctx.Err() != nil {
			break
		}
	}
	time.Sleep(time.Second)
	r := end()
	r.Scenario, r.Strict, r.OnlyPOST, r.OnlyCut, r.WithinMS = s.name, !s.shows, s.onlyPOST, s.onlyCut, s.within.Milliseconds()
	return r, err
}

// requestsOfRound is the least number of requests of a scenario for each of --rounds:
// its steps are repeated until then.
const requestsOfRound = 500

// errSkipped says that this machine lacks what a scenario needs.
var errSkipped = errors.New("not possible here")

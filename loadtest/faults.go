package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"serai/internal/netns"
)

// faultsCommand changes a cluster under a constant load and counts every
// answer that is not the instance's own 200. The cluster is the simulator with
// processes for instances, or a real Nomad.
type faultsCommand struct {
	Nomad  string   `help:"A real agent on this machine, http://HOST:PORT, with raw_exec; NOMAD_TOKEN may be needed." placeholder:"ADDR"`
	Agents string   `help:"A nomad binary: servers and clients are started, as root, so that servers and nodes can fail too." placeholder:"PATH"`
	Binary string   `help:"serai; built when empty." placeholder:"PATH"`
	Rate   int      `default:"300" help:"Requests a second."`
	Rounds int      `default:"20" help:"Repetitions of the scenarios that are repeated, and 500 requests for each."`
	Only   []string `help:"Scenarios whose name contains one of these." placeholder:"WORD,..."`
	JSON   string   `name:"json" help:"Also write the results to this file." placeholder:"FILE"`
	Draw   string   `help:"Also draw a timeline of each scenario into this directory, as SVG." placeholder:"DIR"`
}

// testbed is what a scenario acts on: simulated jobs, or a job on a real Nomad.
type testbed struct {
	*simJobs
	job     *job
	servers *servers       // those of the real Nomad, nil if they are not ours
	ingress *ingressJob    // serai's own job, nil where serai is not run by Nomad
	network *netns.Network // nil for the loopback
	ctx     context.Context
	rounds  int
	load    *load
	// nodes are the serai that run, all behind one balancer if there are several.
	nodes []*ingress
	// instances are those of the service web, oldest first.
	instances []*instance
}

// scenario is a named program of steps.
type scenario struct {
	name     string
	count    int      // instances at the start
	tags     []string // besides the host
	flags    []string // of serai, and NAME=VALUE for its environment
	nodes    int      // serai behind a balancer; one without a balancer when 0
	token    string   // of serai, where the simulator wants one
	onlyPOST bool     // what nobody may repeat may fail
	large    string   // the method of requests with a larger body, PUT
	shows    bool     // only shown: nothing is promised
	servers  bool     // needs servers that can be stopped
	traefik  bool     // in serai's place
	// network gives each instance a network of its own, that can be cut. On a
	// real Nomad each of three nodes has one, and Nomad runs serai there, from
	// our job file.
	network bool
	around  bool          // the load enters through all nodes but the first
	within  time.Duration // no request may take longer, 0 for no promise
	once    bool          // the steps are not repeated
	steps   func(*testbed) error
}

func scenarios() []scenario {
	return []scenario{
		{name: "rolling deploy of 3, without shutdown_delay", count: 3, steps: rollingDeploy},
		{name: "the same deploy with a POST of 20 KiB in place of a PUT", count: 3, large: http.MethodPost, shows: true, steps: rollingDeploy},
		{name: "the same deploy with the Traefik on PATH", count: 3, traefik: true, shows: true, steps: rollingDeploy},
		{name: "scale 1 -> 10 -> 1", count: 1, steps: scale},
		{name: "redeploy with count = 1, a gap of 2 s", count: 1, steps: redeployOne},
		{name: "canary and promotion", count: 3, steps: canary},
		{name: "blue/green and promotion", count: 3, steps: blueGreen},
		{name: "kill -9 of one of 3", count: 3, onlyPOST: true, steps: killOne},
		{name: "Nomad's stream ends, again and again", count: 3, steps: streamEnds},
		{name: "Nomad is cut off for 10 s during a deploy", count: 3, steps: cutOff},
		{name: "Nomad answers 500 for 5 s", count: 3, steps: errors500},
		{name: "serai's token is revoked for 5 s, and restored", count: 3, token: "secret", steps: revoke},
		{name: "no leader for 5 s", count: 3, steps: noLeader},
		{name: "one of 3 hangs for 5 s (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, once: true, steps: hang},
		{name: "a fourth answers 500 (--eject-share=0.5)", count: 3, flags: []string{"--eject-share=0.5"}, shows: true, once: true, steps: join(answers500)},
		{name: "a fourth never answers (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, once: true, steps: join(neverAnswers)},
		{name: "a fourth cuts its answers in half", count: 3, shows: true, once: true, steps: join(cutsAnswers)},
		{name: "a fourth is 100 times slower", count: 3, shows: true, once: true, steps: join(isSlow)},
		{name: "restart of serai on one of 3 nodes, again and again", count: 3, nodes: 3, flags: drained, steps: restartOne},
		{name: "rolling update of serai on 3 nodes", count: 3, nodes: 3, flags: drained, steps: restartAll},
		{name: "the network of one of 3 instances is cut for 10 s", count: 3, network: true, onlyPOST: true, within: cutWithin, steps: cutNetwork},
		{name: "the network of 90 clients is cut", count: 3, network: true, flags: append(shortClientTimeouts, seraiOnBridge), steps: cutClients},
	}
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
	broken := 0
	for _, s := range list {
		if !wanted(c.Only, s.name) || ctx.Err() != nil {
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
			broken++
		}
		fmt.Printf("%-7s %s\n", verdict, r.String())
		for _, p := range r.Phases {
			fmt.Printf("%-7s   %s\n", "", p.String())
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
	if broken > 0 {
		return fmt.Errorf("%d promises were broken", broken)
	}
	return ctx.Err()
}

// ground returns the scenarios, and how to play one.
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
	st := &testbed{simJobs: &simJobs{sim: sim.sim, binary: c.Binary}, ctx: ctx, rounds: c.Rounds}
	if s.network {
		if st.network, err = newNetwork(); err != nil {
			return result{}, err
		}
		defer st.network.End()
		st.place = placeOn(st.network)
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
		if err := st.add(tagsOf(&s)...); err != nil {
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
	return append([]string{host}, s.tags...)
}

// perform runs serai and the steps of a scenario, under load.
func (c *faultsCommand) perform(st *testbed, s *scenario, nomadURL, token string) (result, error) {
	address, err := st.startNodes(c.Binary, s, nomadURL, token)
	for _, n := range st.nodes {
		defer n.stop()
	}
	if err != nil {
		return result{}, err
	}
	st.load = startLoad(st.ctx, address, "web.loadtest", cmp.Or(s.large, http.MethodPut), c.Rate)
	time.Sleep(time.Second)
	for {
		err = s.steps(st)
		if err != nil || s.once || st.load.requests() >= c.Rounds*requestsOfRound || st.ctx.Err() != nil {
			break
		}
	}
	time.Sleep(time.Second)
	r := st.load.end()
	r.Scenario, r.Strict, r.OnlyPOST, r.WithinMS = s.name, !s.shows, s.onlyPOST, s.within.Milliseconds()
	return r, err
}

// requestsOfRound is how many requests a scenario sees at least for each of
// --rounds: its steps are repeated until then.
const requestsOfRound = 500

// startNodes runs the scenario's serai, unless Nomad does, and returns the
// address to ask.
func (s *testbed) startNodes(serai string, sc *scenario, nomadURL, token string) (address string, err error) {
	if sc.traefik {
		n, err := startTraefik(s.ctx, nomadURL, token)
		if n != nil {
			s.nodes = append(s.nodes, n)
			address = n.address
		}
		return address, err
	}
	for len(s.nodes) < max(1, sc.nodes) {
		n, err := startSerai(s.ctx, serai, nomadURL, append([]string{"NOMAD_TOKEN=" + token}, sc.flags...)...)
		if err != nil {
			return "", err
		}
		s.nodes = append(s.nodes, n)
	}
	nodes := s.nodes
	if sc.around {
		nodes = nodes[1:]
	}
	if len(nodes) == 1 {
		return nodes[0].address, nil
	}
	return startBalancer(s.ctx, nodes)
}

// errSkipped says that this machine lacks what a scenario needs.
var errSkipped = errors.New("not possible here")

// add starts one more instance.
func (s *testbed) add(tags ...string) error {
	i, err := s.start("web", tags...)
	if err == nil {
		s.instances = append(s.instances, i)
	}
	return err
}

// remove stops the oldest.
func (s *testbed) remove() {
	oldest := s.instances[0]
	s.instances = s.instances[1:]
	s.stop(oldest)
}

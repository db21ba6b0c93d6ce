package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// faultsCommand changes a cluster under a constant load and counts every
// answer that is not the instance's own 200. The cluster is the simulator;
// the instances are processes.
type faultsCommand struct {
	Binary string   `help:"serai; built when empty." placeholder:"PATH"`
	Rate   int      `default:"300" help:"Requests a second."`
	Rounds int      `default:"20" help:"Repetitions of the scenarios that are repeated."`
	Only   []string `help:"Scenarios whose name contains one of these." placeholder:"WORD,..."`
	JSON   string   `name:"json" help:"Also write the results to this file." placeholder:"FILE"`
}

// stage is what a scenario acts on.
type stage struct {
	*town
	ctx    context.Context
	rounds int
	load   *load
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
	flags    []string // of serai
	nodes    int      // serai behind a balancer; one without a balancer when 0
	token    string   // of serai, where the simulator wants one
	onlyPOST bool     // what nobody may repeat may fail
	shows    bool     // only shown: nothing is promised
	// arena is where instances run: nil for processes on the loopback.
	arena func(context.Context, *town) (end func(), err error)
	steps func(*stage) error
}

func scenarios() []scenario {
	return []scenario{
		{name: "rolling deploy of 3, without shutdown_delay", count: 3, steps: rollingDeploy},
		{name: "scale 1 -> 10 -> 1", count: 1, steps: scale},
		{name: "redeploy with count = 1, a gap of 2 s", count: 1, steps: redeployOne},
		{name: "canary and promotion", count: 3, steps: canary},
		{name: "kill -9 of one of 3", count: 3, onlyPOST: true, steps: killOne},
		{name: "Nomad's stream ends, again and again", count: 3, steps: streamEnds},
		{name: "Nomad is cut off for 10 s during a deploy", count: 3, steps: cutOff},
		{name: "Nomad answers 500 for 5 s", count: 3, steps: errors500},
		{name: "serai's token is revoked for 5 s, and restored", count: 3, token: "secret", steps: revoke},
		{name: "no leader for 5 s", count: 3, steps: noLeader},
		{name: "one of 3 hangs for 5 s (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, steps: hang},
		{name: "a fourth answers 500 (--eject-share=0.5)", count: 3, flags: []string{"--eject-share=0.5"}, shows: true, steps: join(answers500)},
		{name: "a fourth never answers (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, steps: join(neverAnswers)},
		{name: "a fourth cuts its answers in half", count: 3, shows: true, steps: join(cutsAnswers)},
		{name: "a fourth is 100 times slower", count: 3, shows: true, steps: join(isSlow)},
		{name: "restart of serai on one of 3 nodes, again and again", count: 3, nodes: 3, flags: drained, steps: restartOne},
		{name: "rolling update of serai on 3 nodes", count: 3, nodes: 3, flags: drained, steps: restartAll},
		{name: "the network of one of 3 instances is cut for 10 s", count: 3, arena: namespaces, onlyPOST: true, steps: cutNetwork},
	}
}

// Run runs the scenarios one after the other, and fails when a promise is
// broken.
func (c *faultsCommand) Run(ctx context.Context) error {
	if c.Binary == "" {
		dir, err := os.MkdirTemp("", "loadtest")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		c.Binary = filepath.Join(dir, "serai")
		build := exec.CommandContext(ctx, "go", "build", "-o", c.Binary, "serai/cmd/serai")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build serai (or name one with --binary): %w", err)
		}
	}
	var results []result
	broken := 0
	for _, s := range scenarios() {
		if !c.wants(s.name) || ctx.Err() != nil {
			continue
		}
		r, err := c.play(ctx, s)
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
	}
	if c.JSON != "" {
		text, err := json.MarshalIndent(results, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.JSON, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d promises were broken", broken)
	}
	return ctx.Err()
}

func (c *faultsCommand) wants(name string) bool {
	for _, word := range c.Only {
		if strings.Contains(name, word) {
			return true
		}
	}
	return len(c.Only) == 0
}

// play sets the stage for a scenario, runs it under load, and clears it.
func (c *faultsCommand) play(ctx context.Context, s scenario) (result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sim, url, err := startSimulator(ctx)
	if err != nil {
		return result{}, err
	}
	st := &stage{town: &town{sim: sim.sim, binary: c.Binary}, ctx: ctx, rounds: c.Rounds}
	if s.arena != nil {
		end, err := s.arena(ctx, st.town)
		if err != nil {
			return result{}, err
		}
		defer end()
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
	tags := append([]string{"ingress.host=web.loadtest"}, s.tags...)
	for range s.count {
		if err := st.add(tags...); err != nil {
			return result{}, err
		}
	}
	address, err := st.startNodes(&s, url)
	for _, n := range st.nodes {
		defer n.stop()
	}
	if err != nil {
		return result{}, err
	}
	st.load = startLoad(ctx, address, "web.loadtest", c.Rate)
	time.Sleep(time.Second)
	err = s.steps(st)
	time.Sleep(time.Second)
	r := st.load.end()
	r.Scenario, r.Strict, r.OnlyPOST = s.name, !s.shows, s.onlyPOST
	return r, err
}

// startNodes runs the scenario's serai and returns the address to ask.
func (s *stage) startNodes(sc *scenario, nomadURL string) (address string, err error) {
	for range max(1, sc.nodes) {
		n, err := startSerai(s.ctx, s.binary, nomadURL, append([]string{"NOMAD_TOKEN=" + sc.token}, sc.flags...)...)
		if err != nil {
			return "", err
		}
		s.nodes = append(s.nodes, n)
	}
	if sc.nodes == 0 {
		return s.nodes[0].address, nil
	}
	return startBalancer(s.ctx, s.nodes)
}

// errSkipped says that this machine lacks what a scenario needs.
var errSkipped = errors.New("skipped")

// add starts one more instance.
func (s *stage) add(tags ...string) error {
	i, err := s.start("web", tags...)
	if err == nil {
		s.instances = append(s.instances, i)
	}
	return err
}

// remove stops the oldest.
func (s *stage) remove() {
	oldest := s.instances[0]
	s.instances = s.instances[1:]
	s.stop(oldest)
}

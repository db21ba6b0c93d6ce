package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
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
	serai  *ingress
	// instances are those of the service web, oldest first.
	instances []*instance
}

// scenario is a named program of steps.
type scenario struct {
	name     string
	count    int      // instances at the start
	tags     []string // besides the host
	onlyPOST bool     // what nobody may repeat may fail
	shows    bool     // only shown: nothing is promised
	steps    func(*stage) error
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
		{name: "one of 3 hangs for 5 s (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, steps: hang},
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
		fmt.Printf("%-6s %s\n", verdict, r.String())
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
	if st.serai, err = startSerai(ctx, c.Binary, url); err != nil {
		return result{}, err
	}
	defer st.serai.stop()
	l := startLoad(ctx, st.serai.address, "web.loadtest", c.Rate)
	time.Sleep(time.Second)
	err = s.steps(st)
	time.Sleep(time.Second)
	r := l.end()
	r.Scenario, r.Strict, r.OnlyPOST = s.name, !s.shows, s.onlyPOST
	return r, err
}

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

const host = "ingress.host=web.loadtest"

// healthy is how long a deploy waits for the new instance, min_healthy_time.
const healthy = 300 * time.Millisecond

func rollingDeploy(s *stage) error {
	for range s.rounds {
		for range 3 {
			if err := s.add(host); err != nil {
				return err
			}
			time.Sleep(healthy)
			s.remove()
		}
	}
	return nil
}

func scale(s *stage) error {
	for range 9 {
		if err := s.add(host); err != nil {
			return err
		}
		time.Sleep(healthy / 3)
	}
	for range 9 {
		s.remove()
	}
	return nil
}

func redeployOne(s *stage) error {
	for range 3 {
		s.remove()
		time.Sleep(2 * time.Second)
		if err := s.add(host); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	return nil
}

func canary(s *stage) error {
	for range max(1, s.rounds/5) {
		if err := s.add(host, "ingress.canary=10%"); err != nil {
			return err
		}
		time.Sleep(time.Second)
		s.sim.Promote(nomad.DefaultNamespace, s.instances[3].reg.ID, []string{host})
		s.remove()
		for range 2 {
			if err := s.add(host); err != nil {
				return err
			}
			time.Sleep(healthy)
			s.remove()
		}
	}
	return nil
}

func killOne(s *stage) error {
	for range s.rounds {
		victim := s.instances[0]
		s.instances = s.instances[1:]
		victim.kill()
		time.Sleep(time.Second) // until the node tells
		s.sim.StopAlloc(victim.reg.AllocID)
		if err := s.add(host); err != nil {
			return err
		}
		time.Sleep(healthy)
	}
	return nil
}

func streamEnds(s *stage) error {
	for range s.rounds {
		s.sim.EndStreams()
		time.Sleep(healthy)
		if err := s.add(host); err != nil {
			return err
		}
		s.sim.EndStreams()
		time.Sleep(healthy)
		s.remove()
	}
	return nil
}

func cutOff(s *stage) error {
	s.sim.Partition(true)
	// What Nomad does meanwhile, serai cannot hear: two instances come, two
	// go, and connects tell.
	for range 2 {
		if err := s.add(host); err != nil {
			return err
		}
		time.Sleep(3 * time.Second)
		s.remove()
	}
	time.Sleep(4 * time.Second)
	s.sim.Partition(false)
	time.Sleep(3 * time.Second)
	return nil
}

func errors500(s *stage) error {
	remove := s.sim.Inject("", nomadsim.NoLeader())
	s.sim.EndStreams()
	time.Sleep(5 * time.Second)
	remove()
	time.Sleep(time.Second)
	if err := s.add(host); err != nil {
		return err
	}
	time.Sleep(healthy)
	s.remove()
	return nil
}

func hang(s *stage) error {
	s.instances[0].cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(5 * time.Second)
	s.instances[0].cmd.Process.Signal(syscall.SIGCONT)
	return nil
}

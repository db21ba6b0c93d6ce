package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"serai/discovery"
	"serai/hello"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// scaleCommand measures what many serai ask of Nomad's servers, or Consul's. The servers are a
// simulator. Each watcher is serai's own discovery with its own connections, all in
// this process, beside one whole serai whose cost is measured.
type scaleCommand struct {
	Services  int           `default:"1000" help:"Services, each with a route."`
	Instances int           `default:"10" help:"Instances of each service."`
	Watchers  int           `default:"100" help:"How many serai watch. All of them and the simulator share this machine."`
	For       time.Duration `default:"30s" help:"How long the steady state is watched, and for how long there are changes."`
	Changes   int           `default:"100" help:"Changes a second."`
	Consul    bool          `help:"The services are in Consul, of which only some are serai's."`
	Ours      int           `default:"4" help:"With --consul: how many carry tags of serai. Each watcher waits for each with a query of its own, which takes two open files here."`
	Times     int           `default:"10" help:"With --consul: how many changes of each kind."`
	Watches   int           `default:"128" help:"With --consul: serai's --consul-watches."`
	Binary    string        `help:"serai; built when empty." placeholder:"PATH"`
	JSON      string        `name:"json" help:"Also write the results to this file." placeholder:"FILE"`
}

// scaled is what one phase cost.
type scaled struct {
	Phase   string  `json:"phase"`
	Seconds float64 `json:"seconds"`
	// Requests are those of all watchers at the servers, by kind; Peak is the
	// most in a second.
	Requests map[string]int `json:"requests"`
	Peak     int            `json:"peak_per_second"`
	// Agreed is when all watchers knew the last change, in seconds after it.
	Agreed float64 `json:"agreed_seconds,omitempty"`
	// Lag is how long a change took to a watcher.
	LagP50, LagP99, LagMax float64 `json:",omitempty"` // milliseconds
	// CPU is of one whole serai, in milliseconds a second; RSS in bytes.
	CPU float64 `json:"serai_cpu_ms_per_second"`
	RSS int64   `json:"serai_rss_bytes"`
}

// flock is the watchers and what they watch.
type flock struct {
	*scaleCommand
	ctx context.Context
	sim *nomadsim.Sim
	// counts are the requests that the servers got so far, by kind.
	counts func() map[string]int
	serai  *ingress
	// instances is the address of all of them: one process that is ready.
	instances string
	all       []*follower
	keepers   []*keeper
	found     []scaled
}

// follower notes what one watcher knows.
type follower struct {
	source discovery.Source
	latest atomic.Pointer[discovery.Snapshot]
}

// Run starts everything, and goes through the phases.
func (c *scaleCommand) Run(ctx context.Context) error {
	raiseLimit()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.Consul {
		return c.runInConsul(ctx)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f := &flock{scaleCommand: c, ctx: ctx, sim: nomadsim.New(nomadsim.Options{})}
	f.counts = func() map[string]int { return f.sim.Counts().Requests }
	go f.sim.Run(ctx, l)
	url := "http://" + l.Addr().String()
	if err := f.serveInstances(); err != nil {
		return err
	}
	var regs []nomad.Registration
	for i := range c.Services {
		for j := range c.Instances {
			regs = append(regs, f.registration(i, j))
		}
	}
	f.sim.Load(regs...)
	f.serai, err = startSerai(ctx, c.Binary, url)
	if err != nil {
		return err
	}
	defer f.serai.stop()

	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	if err := f.phase("cold start", func() error {
		for range c.Watchers {
			if err := f.follow(&running, url); err != nil {
				return err
			}
		}
		return f.await("a first view", f.all, func(s *discovery.Snapshot) bool { return len(s.Services) == c.Services })
	}); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	for _, p := range []struct {
		name string
		run  func() error
	}{
		{"steady state", func() error { return f.pause(c.For) }},
		{"streams lost", f.streamsLost},
		{"new leader", f.newLeader},
		{fmt.Sprintf("%d changes a second", c.Changes), f.change},
		{"keepers start", func() error { return f.startKeepers(&running, url) }},
		{"a contest of all", f.contest},
	} {
		if err := f.phase(p.name, p.run); err != nil {
			return err
		}
	}
	return f.write()
}

// serveInstances starts what all instances are.
func (f *flock) serveInstances() (err error) {
	f.instances, err = serveReady(f.ctx)
	return err
}

func (f *flock) registration(service, instance int) nomad.Registration {
	return numbered(service, instance, f.instances)
}

// serveReady starts one process of all instances that are there without getting requests, and
// returns its address.
func serveReady(ctx context.Context) (address string, err error) {
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go hello.Serve(ctx, ready, hello.Options{Name: "ready"})
	return ready.Addr().String(), nil
}

// numbered is an instance of service-N at an address.
func numbered(service, instance int, address string) nomad.Registration {
	name := fmt.Sprintf("service-%d", service)
	alloc := fmt.Sprintf("%08x-%04x-4000-8000-000000000000", service, instance)
	return registration(name, alloc, address, tags(name))
}

// follow starts one watcher with a client of its own.
func (f *flock) follow(running *sync.WaitGroup, url string) error {
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		return err
	}
	watchers, err := discovery.NewWatchers(discovery.WatcherOptions{Client: client})
	if err != nil {
		return err
	}
	var sources []discovery.Source
	for _, w := range watchers {
		sources = append(sources, w)
	}
	f.run(running, discovery.Merge(sources...))
	return nil
}

// run starts a watcher.
func (f *flock) run(running *sync.WaitGroup, source discovery.Source) {
	w := &follower{source: source}
	f.all = append(f.all, w)
	snapshots := make(chan *discovery.Snapshot)
	running.Go(func() { source.Run(f.ctx, snapshots) })
	running.Go(func() {
		for {
			select {
			case <-f.ctx.Done():
				return
			case s := <-snapshots:
				w.latest.Store(s)
			}
		}
	})
}

// await waits until all watchers know something.
func (f *flock) await(what string, watchers []*follower, knows func(*discovery.Snapshot) bool) error {
	return await(f, what, watchers, func(w *follower) bool {
		s := w.latest.Load()
		return s != nil && knows(s)
	})
}

// await waits until something holds of all.
func await[T any](f *flock, what string, all []T, holds func(T) bool) error {
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Millisecond) {
		missing := slices.ContainsFunc(all, func(one T) bool { return !holds(one) })
		switch {
		case !missing:
			return nil
		case f.ctx.Err() != nil:
			return f.ctx.Err()
		case time.Now().After(end):
			return fmt.Errorf("waited 10 minutes for %s", what)
		}
	}
}

func (f *flock) pause(d time.Duration) error {
	select {
	case <-f.ctx.Done():
	case <-time.After(d):
	}
	return f.ctx.Err()
}

package main

import (
	"context"
	"errors"
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

// scaleCommand shows what many serai ask of Nomad's servers. The servers are
// the simulator; each watcher is serai's own discovery with connections of its
// own, all in this process, beside one whole serai whose cost is told.
type scaleCommand struct {
	Services  int           `default:"1000" help:"Services, each with a route."`
	Instances int           `default:"10" help:"Instances of each service."`
	Watchers  int           `default:"100" help:"How many serai watch. All of them and the simulator share this machine."`
	For       time.Duration `default:"30s" help:"How long the steady state is watched, and for how long there are changes."`
	Changes   int           `default:"100" help:"Changes a second."`
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
	ctx   context.Context
	sim   *nomadsim.Sim
	serai *ingress
	// instances is the address of all of them: one process that is ready.
	instances string
	all       []*follower
	keepers   []*keeper
	found     []scaled
}

// follower notes what one watcher knows.
type follower struct {
	watchers []*discovery.Watcher
	latest   atomic.Pointer[discovery.Snapshot]
}

// Run starts everything, and goes through the phases.
func (c *scaleCommand) Run(ctx context.Context) error {
	raiseLimit()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f := &flock{scaleCommand: c, ctx: ctx, sim: nomadsim.New(nomadsim.Options{})}
	go f.sim.Run(ctx, l)
	url := "http://" + l.Addr().String()
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.instances = ready.Addr().String()
	go hello.Serve(ctx, ready, hello.Options{Name: "ready"})
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

func (f *flock) registration(service, instance int) nomad.Registration {
	name := fmt.Sprintf("service-%d", service)
	alloc := fmt.Sprintf("%08x-%04x-4000-8000-000000000000", service, instance)
	return registration(name, alloc, f.instances, []string{"ingress.host=" + name + ".loadtest"})
}

// follow starts one watcher with a client of its own.
func (f *flock) follow(running *sync.WaitGroup, url string) error {
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		return err
	}
	w := &follower{}
	if w.watchers, err = discovery.NewWatchers(discovery.WatcherOptions{Client: client}); err != nil {
		return err
	}
	f.all = append(f.all, w)
	snapshots := make(chan *discovery.Snapshot)
	for _, watcher := range w.watchers {
		running.Go(func() { watcher.Run(f.ctx, snapshots) })
	}
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
	return nil
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

// phase runs one, and tells what it cost.
func (f *flock) phase(name string, run func() error) error {
	before, usedBefore := f.sim.Counts(), usageOf(f.serai.cmd.Process.Pid)
	began := time.Now()
	ctx, stop := context.WithCancel(f.ctx)
	peak := make(chan int)
	go func() { peak <- f.busiest(ctx) }()
	f.found = append(f.found, scaled{Phase: name})
	err := run()
	stop()
	s := &f.found[len(f.found)-1]
	s.Peak = <-peak
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.Seconds = time.Since(began).Seconds()
	s.Requests = make(map[string]int)
	total := 0
	for kind, n := range f.sim.Counts().Requests {
		if n -= before.Requests[kind]; n > 0 {
			s.Requests[kind] = n
			total += n
		}
	}
	used := usageOf(f.serai.cmd.Process.Pid)
	s.CPU, s.RSS = float64((used.cpu-usedBefore.cpu).Milliseconds())/s.Seconds, used.rss
	each := float64(total) / float64(len(f.all)+1)
	fmt.Printf("%-24s %6.1f s  %8d requests, %6.1f of each serai, at most %6d in a second; one serai: %.1f ms CPU a second, %.0f MiB\n",
		name, s.Seconds, total, each, s.Peak, s.CPU, mib(s.RSS))
	if s.LagMax > 0 {
		fmt.Printf("%24s a change reached a watcher after %.1f ms (median), %.1f ms (99 %%), %.1f ms at most; all agreed %.3f s after the last\n",
			"", s.LagP50, s.LagP99, s.LagMax, s.Agreed)
	} else if s.Agreed > 0 {
		fmt.Printf("%24s all agreed after %.2f s\n", "", s.Agreed)
	}
	return nil
}

// busiest returns the most requests in one second until ctx ends.
func (f *flock) busiest(ctx context.Context) (most int) {
	total := func() (n int) {
		for _, k := range f.sim.Counts().Requests {
			n += k
		}
		return n
	}
	last := total()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		now := total()
		most = max(most, now-last)
		last = now
	}
	return most
}

// marker registers one more instance and returns whether a snapshot has it.
func (f *flock) marker(n int) (reg nomad.Registration, knows func(*discovery.Snapshot) bool) {
	reg = f.registration(n%f.Services, 200+n/f.Services%50)
	key := discovery.Key{Namespace: nomad.DefaultNamespace, Name: reg.ServiceName}
	return reg, func(s *discovery.Snapshot) bool {
		service := s.Services[key]
		return service != nil && slices.ContainsFunc(service.Instances, func(i *discovery.Instance) bool { return i.ID == reg.ID })
	}
}

// streamsLost ends all streams while nothing changes. What was heard last is
// told again, which shows each serai that it missed nothing.
func (f *flock) streamsLost() error {
	reg, knows := f.marker(1)
	f.sim.Register(reg)
	if err := f.await("the change", f.all, knows); err != nil {
		return err
	}
	before := f.sim.Counts().Requests
	f.sim.EndStreams()
	if err := f.pause(f.For); err != nil {
		return err
	}
	after := f.sim.Counts().Requests
	fmt.Printf("%24s reads after a lost stream with continuity: %d of services, %d lists\n", "",
		after[nomad.KindService]-before[nomad.KindService], after[nomad.KindServices]-before[nomad.KindServices])
	return nil
}

// newLeader ends all streams, as a change of the leader with a restored
// snapshot does, and changes something while nobody listens.
func (f *flock) newLeader() error {
	f.sim.SetLeader(false)
	f.sim.EndStreams()
	if err := f.pause(2 * time.Second); err != nil {
		return err
	}
	reg, knows := f.marker(0)
	f.sim.Register(reg)
	f.sim.SetLeader(true)
	began := time.Now()
	if err := f.await("the change", f.all, knows); err != nil {
		return err
	}
	f.found[len(f.found)-1].Agreed = time.Since(began).Seconds()
	// What each reads again follows slowly.
	return f.pause(f.For)
}

// change registers and deregisters, and follows every tenth through the flock.
func (f *flock) change() error {
	var lags []time.Duration
	every := time.Second / time.Duration(f.Changes)
	next := time.Now()
	n := 0
	for began := time.Now(); time.Since(began) < f.For; n++ {
		next = next.Add(every)
		if err := f.pause(time.Until(next)); err != nil {
			return err
		}
		reg, _ := f.marker(f.Services + n/2)
		if n%2 == 1 {
			f.sim.Deregister(nomad.DefaultNamespace, reg.ID)
			continue
		}
		f.sim.Register(reg)
		if n%20 == 0 {
			// One watcher at a time is asked: to ask all would take longer
			// than what is measured.
			w := f.all[n/20%len(f.all)]
			_, knows := f.marker(f.Services + n/2)
			at := time.Now()
			for !knows(w.latest.Load()) && time.Since(at) < time.Second {
				time.Sleep(50 * time.Microsecond)
			}
			lags = append(lags, time.Since(at))
		}
	}
	reg, knows := f.marker(f.Services + n)
	f.sim.Register(reg)
	last := time.Now()
	if err := f.await("the last change", f.all, knows); err != nil {
		return err
	}
	s := &f.found[len(f.found)-1]
	s.Agreed = time.Since(last).Seconds()
	slices.Sort(lags)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s.LagP50, s.LagP99, s.LagMax = ms(lags[len(lags)/2]), ms(lags[len(lags)*99/100]), ms(lags[len(lags)-1])
	return nil
}

// write writes the results, and fails when the steady state is not quiet.
func (f *flock) write() error {
	err := writeJSON(f.JSON, f.found)
	steady := f.found[1]
	asked := 0
	for _, n := range steady.Requests {
		asked += n
	}
	// Two cheap requests a minute are promised, beside the stream.
	if most := 2 * float64(len(f.all)+1) * max(1, steady.Seconds/60); float64(asked) > most {
		err = errors.Join(err, fmt.Errorf("in the steady state there were %d requests, more than the %.0f that are promised", asked, most))
	}
	return err
}

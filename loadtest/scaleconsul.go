package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"serai/consul"
	"serai/consul/consulsim"
	"serai/discovery"
)

// consulFlock is many serai that follow Consul. The simulator is all agents and servers in one:
// what agents answer by themselves, queries for one service that wait, is counted like what they
// ask the servers for.
type consulFlock struct {
	*flock
	sim    *consulsim.Sim
	socket string
	// unfit are the instances that are critical.
	unfit map[string]bool
	extra int // services and instances that were registered since
}

// runInConsul starts everything, and goes through the phases.
func (c *scaleCommand) runInConsul(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Connections to a socket of this machine need no ports, of which there are too few.
	l, err := net.Listen("unix", filepath.Join(dir, "consul"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &consulFlock{sim: consulsim.New(consulsim.Options{}), socket: "unix://" + l.Addr().String(), unfit: make(map[string]bool)}
	f.flock = &flock{scaleCommand: c, ctx: ctx, counts: func() map[string]int { return f.sim.Counts().Requests }}
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { f.sim.Run(ctx, l) })
	if err := f.serveInstances(); err != nil {
		return err
	}
	for n := range c.Services {
		for i := range c.Instances {
			if err := f.register(n, i, consul.Passing); err != nil {
				return err
			}
		}
	}
	f.serai, err = startSerai(ctx, c.Binary, "", "--no-nomad", "--consul="+f.socket, "--consul-watches="+strconv.Itoa(c.Watches),
		// All of Consul is one namespace.
		"--max-claims-namespace="+strconv.Itoa(c.Ours+100), "--max-claims-total="+strconv.Itoa(c.Ours+100))
	if err != nil {
		return err
	}
	defer f.serai.stop()
	for _, p := range []struct {
		name string
		run  func() error
	}{
		{"cold start", func() error { return f.begin(&running) }},
		{"steady state", f.rest},
		{"checks change", f.checks},
		{"a deploy: critical", f.start},
		{"they pass", f.ready},
		{"they go", f.stop},
		{"instances come, passing", f.come},
		{"instances go", f.leave},
		{"new services", f.routes},
		{"no leader for a while", f.elect},
		{"all connections lost", f.disconnect},
	} {
		if err := f.phase(p.name, p.run); err != nil {
			return err
		}
	}
	return errors.Join(f.complete(), writeJSON(c.JSON, f.found))
}

func serviceInConsul(n int) string { return fmt.Sprint("service-", n) }

// register registers an instance of a service, or sets the state of its check.
func (f *consulFlock) register(service, instance int, state string) error {
	name, node := serviceInConsul(service), fmt.Sprint("node-", (service+instance)%300)
	id := fmt.Sprint(name, "-", instance)
	host, port, err := net.SplitHostPort(f.instances)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s := &consulsim.Service{ID: id, Service: name, Address: host, Port: number, Tags: []string{"a-tag-of-somebody-else"}}
	if service < f.Ours || service >= f.Services {
		s.Tags = []string{"ingress.host=" + name + ".loadtest"}
	}
	_, err = f.sim.Register(consulsim.Registration{
		Node: node, Address: "10.0.0.1", SkipNodeUpdate: false, Service: s,
		Check: &consulsim.Check{Node: node, CheckID: "service:" + id, Name: "works", Status: state, ServiceID: id},
	})
	f.unfit[node+"/"+id] = state != consul.Passing
	return err
}

func (f *consulFlock) deregister(service, instance int) error {
	node, id := fmt.Sprint("node-", (service+instance)%300), fmt.Sprint(serviceInConsul(service), "-", instance)
	delete(f.unfit, node+"/"+id)
	_, err := f.sim.Deregister(consulsim.Deregistration{Node: node, ServiceID: id})
	return err
}

// find is an instance in a snapshot, nil when it is not there.
func (f *consulFlock) find(s *discovery.Snapshot, service, instance int) *discovery.Instance {
	name := serviceInConsul(service)
	of := s.Services[discovery.Key{Namespace: discovery.ConsulNamespace, Name: name}]
	if of == nil {
		return nil
	}
	at := slices.IndexFunc(of.Instances, func(i *discovery.Instance) bool {
		return i.ID == fmt.Sprint("node-", (service+instance)%300, "/", name, "-", instance)
	})
	if at < 0 {
		return nil
	}
	return of.Instances[at]
}

// begin starts the watchers.
func (f *consulFlock) begin(running *sync.WaitGroup) error {
	for range f.Watchers {
		client, err := consul.NewClient(consul.Options{Address: f.socket, Limits: consul.Limits{Request: 5 * time.Minute}})
		if err != nil {
			return err
		}
		source, err := discovery.NewConsul(discovery.ConsulOptions{Client: client, Watches: f.Watches})
		if err != nil {
			return err
		}
		f.run(running, source)
	}
	return f.await("a first view", f.all, func(s *discovery.Snapshot) bool { return len(s.Services) == f.Ours })
}

// rest waits until all queries wait, and then longer.
func (f *consulFlock) rest() error {
	before := usageOf(os.Getpid()).cpu - usageOf(f.serai.cmd.Process.Pid).cpu
	began := time.Now()
	if err := f.pause(f.For); err != nil {
		return err
	}
	used, serai := usageOf(os.Getpid()), usageOf(f.serai.cmd.Process.Pid)
	fmt.Printf("%24s all watchers and the simulator together: %.1f ms CPU a second, %.0f MiB; %d queries wait\n", "",
		float64((used.cpu-serai.cpu-before).Milliseconds())/time.Since(began).Seconds(), mib(used.rss-serai.rss), f.sim.Counts().Blocked)
	return nil
}

// follow makes changes, each once all watchers know the last one, and notes when one of them knew
// it, and when all did.
func (f *consulFlock) follow(times int, change func(n int) error, knows func(s *discovery.Snapshot, n int) bool) error {
	var lags []time.Duration
	s := &f.found[len(f.found)-1]
	for n := range times {
		w, at := f.all[n%len(f.all)], time.Now()
		if err := change(n); err != nil {
			return err
		}
		if err := f.await("one watcher", []*follower{w}, func(s *discovery.Snapshot) bool { return knows(s, n) }); err != nil {
			return err
		}
		lags = append(lags, time.Since(at))
		if err := f.await("all watchers", f.all, func(s *discovery.Snapshot) bool { return knows(s, n) }); err != nil {
			return err
		}
		s.Agreed = max(s.Agreed, time.Since(at).Seconds())
	}
	slices.Sort(lags)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s.LagP50, s.LagP99, s.LagMax = ms(lags[len(lags)/2]), ms(lags[len(lags)*99/100]), ms(lags[len(lags)-1])
	return nil
}

// complete reports what a watcher lacks in the end, or has that is not there.
func (f *consulFlock) complete() error {
	for n, w := range f.all {
		s, instances := w.latest.Load(), 0
		for _, service := range s.Services {
			for _, i := range service.Instances {
				instances++
				if unfit, there := f.unfit[i.ID]; !there || unfit != (i.Unfit != "") {
					return fmt.Errorf("watcher %d has %s, which is registered %v, and %q", n, i.ID, there, i.Unfit)
				}
			}
		}
		if want := f.Ours*f.Instances + f.extra + 1; instances != want || len(s.Services) != f.Ours+f.extra {
			return fmt.Errorf("watcher %d has %d instances of %d services, want %d of %d", n, instances, len(s.Services), want, f.Ours+f.extra)
		}
	}
	fmt.Printf("all %d watchers have all that is registered\n", len(f.all))
	return nil
}

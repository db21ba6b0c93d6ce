package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"serai/hello"
	"serai/internal/history"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// devCommand is `serai dev`.
type devCommand struct {
	HTTP     string   `name:"http" default:"127.0.0.1:8080" help:"Address of the ingress." placeholder:"ADDR"`
	Admin    string   `default:"127.0.0.1:8081" help:"Address of the admin listener: health, metrics, API and dashboard." placeholder:"ADDR"`
	Nomad    string   `default:"127.0.0.1:0" help:"Address of the Nomad simulator." placeholder:"ADDR"`
	Every    duration `default:"5s" help:"How often an instance of whoami is replaced; 0s for never."`
	LogLevel logLevel `default:"WARN" help:"DEBUG, INFO, WARN or ERROR." placeholder:"LEVEL"`
}

// Run runs the simulator, sample services on free ports of the loopback, and
// the ingress, until ctx ends.
func (c *devCommand) Run(ctx context.Context, env *environment) error {
	port, err := net.Listen("tcp", c.Nomad)
	if err != nil {
		return fmt.Errorf("nomad simulator: %w; set --nomad", err)
	}
	agent := "http://" + port.Addr().String()
	ingress, err := c.ingress(env, agent)
	if err != nil {
		port.Close()
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	// The services outlive the ingress, which drains first.
	parts, end := context.WithCancel(context.Background())
	defer end()
	sim := nomadsim.New(nomadsim.Options{})
	running.Go(func() { sim.Run(parts, port) })
	samples := &sampleServices{sim: sim, parts: parts, running: &running}
	if err := samples.registerAll(); err != nil {
		ingress.close()
		return err
	}
	c.explain(env.stdout, agent)
	if c.Every > 0 {
		running.Go(func() { samples.churn(parts, c.Every.value()) })
	}
	return ingress.run(ctx)
}

// ingress makes the same system as serve does, with the simulator as its
// Nomad.
func (c *devCommand) ingress(env *environment, agent string) (*system, error) {
	var all commands
	_, err := parse(context.Background(), &all, []string{"serve", "--http=" + c.HTTP, "--admin=" + c.Admin, "--drain-delay=0s", "--drain-timeout=5s", "--log-level=" + slog.Level(c.LogLevel).String()},
		func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	simulated := *env
	simulated.getenv = func(name string) string {
		if name == "NOMAD_ADDR" {
			return agent
		}
		return ""
	}
	return newSystem(&all.Serve, &simulated, 0, history.Logger(all.Serve.logger(simulated.stderr), history.NewRing(all.Serve.AdminFlags.MaxEvents)))
}

// sampleServices is the sample services.
type sampleServices struct {
	sim     *nomadsim.Sim
	parts   context.Context
	running *sync.WaitGroup
	made    int
	whoami  []*sampleInstance // oldest first
}

// sampleInstance is one running instance.
type sampleInstance struct {
	id   string
	stop context.CancelFunc
}

// registerAll starts the services.
func (t *sampleServices) registerAll() error {
	for range 3 {
		r, err := t.start("whoami", "ingress.host=whoami.localhost,whoami.example.org")
		if err != nil {
			return err
		}
		t.whoami = append(t.whoami, r)
	}
	for _, s := range []struct {
		name string
		tags []string
	}{
		{"api", []string{"ingress.host=shop.localhost,shop.example.org", "ingress.path=/api", "ingress.strip=/api"}},
		{"web", []string{"ingress.host=shop.localhost,shop.example.org"}},
		{"echo", []string{"ingress.host=grpc.localhost,grpc.example.org", "ingress.scheme=grpc", "ingress.check=grpc"}},
		{"echo", []string{"ingress.host=grpc.localhost,grpc.example.org", "ingress.scheme=grpc", "ingress.check=grpc"}},
		{"app", []string{"ingress.host=app.localhost,app.example.org", "ingress.rewrite=^/v1/(.*)$ /api/$1", "ingress.response-set=X-Request-Id: {request-id}"}},
		{"limited", []string{"ingress.host=limited.localhost,limited.example.org", "ingress.rate=5/m"}},
		{"staff", []string{"ingress.host=staff.localhost,staff.example.org", "ingress.allow=192.0.2.0/24"}},
		{"broken", []string{"ingress.host=broken.example.org", "ingress.stripp=/x"}},
	} {
		if _, err := t.start(s.name, s.tags...); err != nil {
			return err
		}
	}
	return nil
}

// start runs an instance and registers it.
func (t *sampleServices) start(service string, tags ...string) (*sampleInstance, error) {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sample service: %w", err)
	}
	t.made++
	alloc := fmt.Sprintf("%08x-0000-4000-8000-%012x", t.made, t.made)
	ctx, stop := context.WithCancel(t.parts)
	t.running.Go(func() {
		hello.Serve(ctx, port, hello.Options{Name: service, Alloc: alloc, Node: "dev", ShutdownTimeout: time.Second})
	})
	r := &sampleInstance{id: "_nomad-task-" + alloc + "-group-" + service, stop: stop}
	address := netip.MustParseAddrPort(port.Addr().String())
	t.sim.Register(nomad.Registration{
		ID: r.id, ServiceName: service, Namespace: nomad.DefaultNamespace, NodeID: "dev", Datacenter: nomadsim.Datacenter,
		JobID: service, AllocID: alloc, Tags: tags, Address: address.Addr().String(), Port: int(address.Port()),
	})
	return r, nil
}

// churn replaces the oldest instance of whoami again and again, as a deploy
// without shutdown_delay does: the new one is registered, the old one leaves
// and is stopped at once.
func (t *sampleServices) churn(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next, err := t.start("whoami", "ingress.host=whoami.localhost,whoami.example.org")
		if err != nil {
			continue // no port is free: later
		}
		oldest := t.whoami[0]
		t.whoami = append(t.whoami[1:], next)
		t.sim.Deregister(nomad.DefaultNamespace, oldest.id)
		oldest.stop()
	}
}

// explain prints what to try.
func (c *devCommand) explain(w io.Writer, agent string) {
	traffic, control := "http://"+c.HTTP, "http://"+c.Admin
	fmt.Fprintf(w, `serai dev: a simulated Nomad at %s, the ingress at %s

  curl -H 'Host: whoami.example.org' %s/           # three instances take turns
  curl -H 'Host: shop.example.org' %s/             # the web service
  curl -H 'Host: shop.example.org' %s/api/items    # another service by path, /api stripped
  curl --http2-prior-knowledge -H 'Host: grpc.example.org' %s/    # HTTP/2 on both sides
  grpcurl -plaintext -authority grpc.example.org -d '{"text": "hello"}' %s serai.hello.v1.Echo/Say    # two instances take turns
  curl -i -H 'Host: app.example.org' %s/v1/users   # a policy: the instance gets /api/users, the answer X-Request-Id
  curl -i -H 'Host: limited.example.org' %s/       # another one: five a minute, then 429 and Retry-After
  curl -i -H 'Host: staff.example.org' %s/         # and one more: 403 for all but one network
  curl -i -H 'Host: nobody.example.org' %s/        # 404, with the reason
  curl -s %s/rejections                            # the broken service: why, and what to write
  curl -s '%s/explain?host=shop.example.org&path=/api'
  curl -s %s/routes
  curl -s %s/metrics
`, agent, traffic, traffic, traffic, traffic, traffic, c.HTTP, traffic, traffic, traffic, traffic, control, control, control, control)
	if c.Every > 0 {
		fmt.Fprintf(w, "\nEvery %v an instance of whoami is replaced, and no request fails:\n\n  while curl -sf -o /dev/null -H 'Host: whoami.example.org' %s/; do :; done\n", c.Every.value(), traffic)
	}
	fmt.Fprintln(w, "\nCtrl-C ends it.")
}

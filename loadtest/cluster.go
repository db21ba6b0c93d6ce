package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"serai/hello"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// cluster runs services of one or more instances. Each is reached by the host
// NAME.loadtest.
type cluster interface {
	// start runs a service with that many instances.
	start(ctx context.Context, service string, instances int) error
	// leave removes an instance from discovery. It goes on answering, so that requests
	// that reach it are seen.
	leave(ctx context.Context, r nomad.Registration) error
	// stop ends a service.
	stop(service string)
}

func tags(service string) []string { return []string{"ingress.host=" + service + ".loadtest"} }

// simulated is the simulator with instances in this process.
type simulated struct {
	sim   *nomadsim.Sim
	mu    sync.Mutex
	ends  map[string][]context.CancelFunc
	count int
}

// startSimulator runs a simulator until ctx ends.
func startSimulator(ctx context.Context) (*simulated, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	s := &simulated{sim: nomadsim.New(nomadsim.Options{}), ends: make(map[string][]context.CancelFunc)}
	go s.sim.Run(ctx, l)
	return s, "http://" + l.Addr().String(), nil
}

func (s *simulated) start(ctx context.Context, service string, instances int) error {
	for range instances {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.count++
		alloc := fmt.Sprintf("%08x-0000-4000-8000-000000000000", s.count)
		ctx, end := context.WithCancel(ctx)
		s.ends[service] = append(s.ends[service], end)
		s.mu.Unlock()
		go hello.Serve(ctx, l, hello.Options{Name: service, Alloc: alloc})
		at := netip.MustParseAddrPort(l.Addr().String())
		s.sim.Register(nomad.Registration{
			ID: "_nomad-task-" + alloc + "-" + service, ServiceName: service, Namespace: nomad.DefaultNamespace, Datacenter: nomadsim.Datacenter,
			JobID: service, AllocID: alloc, Tags: tags(service), Address: at.Addr().String(), Port: int(at.Port()),
		})
	}
	return nil
}

func (s *simulated) leave(_ context.Context, r nomad.Registration) error {
	s.sim.Deregister(r.Namespace, r.ID)
	return nil
}

func (s *simulated) stop(service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sim.DeregisterAll(func(r nomad.Registration) bool { return r.ServiceName == service })
	for _, end := range s.ends[service] {
		end()
	}
}

// agent is a real Nomad that runs raw_exec jobs of `serai hello`.
type agent struct {
	address string // http://HOST:PORT
	token   string
	binary  string // of serai, on its nodes
}

// do sends one request to the agent.
func (a *agent) do(ctx context.Context, method, path string, in any) error {
	return a.call(ctx, method, path, in, nil)
}

// call does, and reads the answer unless into is nil.
func (a *agent) call(ctx context.Context, method, path string, in, into any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, a.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-Nomad-Token", a.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// get reads from the API.
func (a *agent) get(ctx context.Context, path string, into any) error {
	return a.call(ctx, http.MethodGet, path, nil, into)
}

func (a *agent) start(ctx context.Context, service string, instances int) error {
	type m map[string]any
	job := m{"ID": service, "Name": service, "Type": "service", "Datacenters": []string{"*"}, "TaskGroups": []m{{
		"Name": "web", "Count": instances,
		"Networks": []m{{"DynamicPorts": []m{{"Label": "http"}}}},
		"Tasks": []m{{
			"Name": service, "Driver": "raw_exec",
			"Config":    m{"command": a.binary, "args": []string{"hello", "--addr=:${NOMAD_PORT_http}"}},
			"Resources": m{"CPU": 20, "MemoryMB": 20},
			// A task's service is registered once the task runs.
			"Services": []m{{"Name": service, "Provider": "nomad", "PortLabel": "http", "Tags": tags(service)}},
		}},
	}}}
	return a.do(ctx, http.MethodPut, "/v1/jobs", m{"Job": job})
}

func (a *agent) leave(ctx context.Context, r nomad.Registration) error {
	return a.do(ctx, http.MethodDelete, "/v1/service/"+r.ServiceName+"/"+r.ID, nil)
}

func (a *agent) stop(service string) {
	a.do(context.Background(), http.MethodDelete, "/v1/job/"+service+"?purge=true", nil)
}

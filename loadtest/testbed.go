package main

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"serai/internal/netns"
)

// testbed is what a scenario works on: simulated jobs, or a job on a real Nomad.
type testbed struct {
	*simJobs
	job     *job
	servers *servers       // those of the real Nomad, nil if they are not ours
	ingress *ingressJob    // serai's own job, nil where serai is not run by Nomad
	network *netns.Network // nil for the loopback
	ctx     context.Context
	rounds  int
	tags    []string // of instances, as the scenario has them
	load    *load
	// nodes are the serai that run, all behind one balancer if there are several.
	nodes []*ingress
	// instances are those of the service web, oldest first.
	instances []*instance
}

// startClients has the scenario's clients begin. End stops them and returns what they
// saw.
func (s *testbed) startClients(sc *scenario, at entrance, rate int) (end func() result, err error) {
	const name = "web.loadtest"
	large := cmp.Or(sc.large, http.MethodPut)
	if !sc.http2 {
		s.load = startLoad(s.ctx, rate, newHTTP1Client(at.plain, name, large))
		return s.load.end, nil
	}
	calls, err := newGRPCClient(at, name, connectionsEach)
	if err != nil {
		return nil, err
	}
	open := startStreams(s.ctx, calls.channels, 5*len(calls.channels), 200*time.Millisecond, "a message")
	s.load = startLoad(s.ctx, rate, calls, newHTTP2Client(at, name, large))
	return func() result {
		seen := open.end()
		r := s.load.end()
		r.Streams, r.Again = seen, calls.again.count.Load()
		return r
	}, nil
}

// startNodes runs the scenario's serai, unless Nomad does, and returns where clients
// connect to.
func (s *testbed) startNodes(serai string, sc *scenario, nomadURL, token string) (at entrance, err error) {
	if sc.traefik {
		n, err := startTraefik(s.ctx, nomadURL, token)
		if n != nil {
			s.nodes = append(s.nodes, n)
			at.plain = n.address
		}
		return at, err
	}
	for len(s.nodes) < max(1, sc.nodes) {
		settings := append([]string{"NOMAD_TOKEN=" + token}, sc.flags...)
		if sc.http2 && sc.nodes <= 1 {
			settings = append(settings, "--https=")
		}
		n, err := startSerai(s.ctx, serai, nomadURL, settings...)
		if err != nil {
			return at, err
		}
		s.nodes = append(s.nodes, n)
	}
	nodes := s.nodes
	if sc.around {
		nodes = nodes[1:]
	}
	if len(nodes) == 1 {
		return entrance{plain: nodes[0].address, secure: nodes[0].secure}, nil
	}
	at.plain, err = startBalancer(s.ctx, nodes)
	return at, err
}

// add starts one more instance, and waits until it runs: from then on a deploy counts
// how long it has been healthy.
func (s *testbed) add(tags ...string) error {
	i, err := s.start("web", tags...)
	if err != nil {
		return err
	}
	s.instances = append(s.instances, i)
	return awaitOpen(s.ctx, net.JoinHostPort(i.reg.Address, strconv.Itoa(i.reg.Port)))
}

// remove stops the oldest.
func (s *testbed) remove() {
	oldest := s.instances[0]
	s.instances = s.instances[1:]
	s.stop(oldest)
}

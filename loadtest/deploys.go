package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

// The scenarios on a real Nomad: the job is deployed by Nomad itself, tasks get
// their signals from it, and servers are stopped where the program runs them.
func realScenarios() []scenario {
	all := []scenario{
		{name: "rolling deploy of 3, without shutdown_delay", count: 3, steps: deployAgain},
		{name: "the same deploy with a POST of 20 KiB in place of a PUT", count: 3, large: http.MethodPost, shows: true, steps: deployAgain},
		{name: "the same deploy with the Traefik on PATH", count: 3, traefik: true, shows: true, steps: deployAgain},
		{name: "scale 1 -> 10 -> 1", count: 1, steps: deployScale},
		{name: "redeploy with count = 1, without a canary", count: 1, steps: deployAgain},
		{name: "canary of 10% and promotion", count: 3, steps: deployCanaries(1, "ingress.canary=10%")},
		{name: "blue/green: 3 canaries, and promotion", count: 3, steps: deployCanaries(3)},
		{name: "kill -9 of one of 3", count: 3, onlyPOST: true, steps: killTask},
		{name: "one of 3 hangs for 5 s (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, once: true, steps: hangTask},
		{name: "a fourth answers 500 (--eject-share=0.5)", count: 3, flags: []string{"--eject-share=0.5"}, shows: true, once: true, steps: joinTask("500")},
		{name: "a fourth never answers (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, once: true, steps: joinTask("silent")},
		{name: "a fourth cuts its answers in half", count: 3, shows: true, once: true, steps: joinTask("half")},
		{name: "a fourth is 100 times slower", count: 3, shows: true, once: true, steps: joinTask("slow")},
		{name: "restart of serai on one of 3 nodes, again and again", count: 3, nodes: 3, flags: drained, steps: restartTimes(5, 2)},
		{name: "Nomad updates serai's own job on 3 nodes", count: 3, network: true, steps: updateNodes},
		{name: "the network of one of 3 nodes is cut", count: 3, network: true, around: true, onlyPOST: true, within: cutWithin, steps: cutNode},
		{name: "the same cut, with the load through all 3 nodes", count: 3, network: true, shows: true, steps: cutNode},
		{name: "the network of 90 clients of a node is cut", count: 3, network: true, flags: shortClientTimeouts, steps: cutClients},
		{name: "serai's token is revoked for 5 s, and replaced", count: 3, servers: true, steps: revokeToken},
		{name: "the leader of 3 servers is killed", count: 3, servers: true, steps: killLeader},
		{name: "all servers are stopped for 60 s", count: 3, servers: true, steps: stopServers},
	}
	return append(all, realScenariosHTTP2()...)
}

// realScenariosHTTP2 are those with clients of HTTP/2 and gRPC.
func realScenariosHTTP2() []scenario {
	drained := []string{"--drain-delay=1s", "--drain-timeout=2s"}
	return []scenario{
		{name: "http2, grpc: rolling deploy of 3, without shutdown_delay", http2: true, count: 3, steps: deployAgain},
		{name: "http2, grpc: rolling deploy of 3, shutdown_delay = 1s", http2: true, count: 3, delay: time.Second, steps: deployAgain},
		{name: "http2, grpc: redeploy with count = 1, without a canary", http2: true, count: 1, steps: deployAgain},
		{name: "http2, grpc: kill -9 of one of 3", http2: true, count: 3, flags: manyRetries, onlyPOST: true, steps: killTask},
		{name: "http2, grpc: kill -9 of one of 3 (retry-post=on)", http2: true, count: 3, flags: manyRetries, onlyCut: true, tags: []string{"ingress.retry-post=on"}, shows: true, steps: killTask},
		{name: "http2, grpc: one of 3 hangs for 5 s (timeout=1s)", http2: true, count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, once: true, steps: hangTask},
		{name: "http2, grpc: restart of serai on one of 3 nodes", http2: true, count: 3, nodes: 3, flags: drained, steps: restartTimes(1, 2)},
		{name: "http2, grpc: Nomad updates serai's own job on 3 nodes", http2: true, count: 3, network: true, steps: updateNodes},
		{name: "http2, grpc: the network of one of 3 nodes is cut", http2: true, count: 3, network: true, flags: manyRetries, around: true, onlyPOST: true, within: cutWithin, steps: cutNode},
		{name: "http2, grpc: the same cut, with the load through all 3 nodes", http2: true, count: 3, network: true, shows: true, steps: cutNode},
	}
}

func again(s *jobSpec) { s.version++ }

func deployAgain(s *testbed) error {
	for i := range s.rounds {
		s.load.mark(fmt.Sprintf("deploy %d", i+1))
		if err := s.job.deploy(s.ctx, again); err != nil {
			return err
		}
	}
	return nil
}

func deployScale(s *testbed) error {
	for range max(1, s.rounds/5) {
		for _, n := range []int{10, 1} {
			s.load.mark(fmt.Sprintf("count = %d", n))
			if err := s.job.deploy(s.ctx, func(j *jobSpec) { j.count = n }); err != nil {
				return err
			}
			time.Sleep(2 * time.Second)
		}
	}
	return nil
}

func deployCanaries(n int, tags ...string) func(*testbed) error {
	return func(s *testbed) error {
		for range max(1, s.rounds/5) {
			s.load.mark("canaries")
			err := s.job.deploy(s.ctx, func(j *jobSpec) { j.version, j.canaries, j.canaryTags = j.version+1, n, append(j.tags, tags...) })
			if err != nil {
				return err
			}
			time.Sleep(time.Second)
			s.load.mark("promotion")
			if err := s.job.promote(s.ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// killTask kills one task after the other, again and again. Nomad restarts each before
// the next one is killed; otherwise repeated requests would reach another dying one.
func killTask(s *testbed) error {
	for i := range s.rounds {
		allocs, err := s.job.allocs(s.ctx)
		if err != nil {
			return err
		}
		s.load.mark("kill -9")
		if err := s.job.signal(s.ctx, allocs[i%len(allocs)].ID, "SIGKILL"); err != nil {
			return err
		}
		time.Sleep(4 * time.Second)
	}
	return nil
}

func hangTask(s *testbed) error {
	allocs, err := s.job.allocs(s.ctx)
	if err != nil {
		return err
	}
	s.load.begin("while it hangs")
	if err := s.job.signal(s.ctx, allocs[0].ID, "SIGSTOP"); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	s.load.begin("after it")
	return s.job.signal(s.ctx, allocs[0].ID, "SIGCONT")
}

// joinTask adds a failing instance, as a job of its own.
func joinTask(kind string) func(*testbed) error {
	return func(s *testbed) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		spec := jobSpec{count: 1, tags: s.job.spec.tags, command: self, args: []string{"misfit", kind, ":${NOMAD_PORT_http}"}}
		other := &job{agent: s.job.agent, id: "loadtest-misfit", spec: spec}
		defer other.agent.stop(other.id)
		s.load.begin("while it is deployed")
		if err := other.deploy(s.ctx, again); err != nil {
			return err
		}
		tellParts(s.load)
		other.agent.stop(other.id)
		time.Sleep(time.Second)
		return nil
	}
}

// revokeToken takes serai's token away during a deploy, and gives it another
// one, as Nomad does with a workload's identity.
func revokeToken(s *testbed) error {
	s.load.mark("token revoked")
	if err := s.servers.deleteToken(s.ctx); err != nil {
		return err
	}
	// One comes and one goes meanwhile: serai hears of neither, and finds out
	// about the second. A whole deploy would leave it nobody that it knows.
	time.Sleep(2 * time.Second)
	for _, n := range []int{4, 3} {
		if err := s.job.deploy(s.ctx, func(j *jobSpec) { j.count = n }); err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second)
	s.load.mark("another token")
	if err := s.servers.writeToken(s.ctx); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	return s.job.deploy(s.ctx, again)
}

func killLeader(s *testbed) error {
	for range 3 {
		s.load.mark("leader killed")
		old, err := s.servers.killLeader(s.ctx)
		if err != nil {
			return err
		}
		if err := s.servers.awaitLeader(s.ctx); err != nil {
			return err
		}
		s.load.mark("new leader")
		if err := s.job.deploy(s.ctx, again); err != nil {
			return err
		}
		if err := old.start(); err != nil {
			return err
		}
		time.Sleep(5 * time.Second)
	}
	return nil
}

func stopServers(s *testbed) error {
	s.load.mark("servers stopped")
	for _, a := range s.servers.servers {
		a.stop()
	}
	time.Sleep(time.Minute)
	s.load.mark("servers started")
	for _, a := range s.servers.servers {
		if err := a.start(); err != nil {
			return err
		}
	}
	if err := s.servers.awaitLeader(s.ctx); err != nil {
		return err
	}
	s.load.mark("new leader")
	time.Sleep(5 * time.Second)
	return s.job.deploy(s.ctx, again)
}

package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

const host = "ingress.host=web.loadtest"

// healthy is how long a deploy waits for the new instance, min_healthy_time.
const healthy = 300 * time.Millisecond

func rollingDeploy(s *testbed) error {
	for i := range s.rounds {
		s.load.mark(fmt.Sprintf("deploy %d", i+1))
		for range 3 {
			if err := s.add(s.tags...); err != nil {
				return err
			}
			time.Sleep(healthy)
			s.remove()
		}
	}
	return nil
}

func scale(s *testbed) error {
	for range max(1, s.rounds/5) {
		s.load.mark("to 10")
		for range 9 {
			if err := s.add(s.tags...); err != nil {
				return err
			}
			time.Sleep(healthy / 3)
		}
		s.load.mark("to 1")
		for range 9 {
			s.remove()
		}
	}
	return nil
}

// redeployTimes stops the only instance and starts another one, once for so many rounds,
// but a few times at least.
func redeployTimes(least, rounds int) func(*testbed) error {
	return func(s *testbed) error {
		for range max(least, s.rounds/rounds) {
			s.load.mark("gap")
			s.remove()
			time.Sleep(2 * time.Second)
			if err := s.add(s.tags...); err != nil {
				return err
			}
			time.Sleep(time.Second)
		}
		return nil
	}
}

func canary(s *testbed) error {
	for range max(1, s.rounds/5) {
		if err := s.add(append(slices.Clone(s.tags), "ingress.canary=10%")...); err != nil {
			return err
		}
		time.Sleep(time.Second)
		s.load.mark("promotion")
		s.sim.Promote(nomad.DefaultNamespace, s.instances[3].reg.ID, s.tags)
		s.remove()
		for range 2 {
			if err := s.add(s.tags...); err != nil {
				return err
			}
			time.Sleep(healthy)
			s.remove()
		}
	}
	return nil
}

// blueGreen starts a second set of instances beside the first, and switches.
func blueGreen(s *testbed) error {
	for range max(1, s.rounds/5) {
		for range 3 {
			if err := s.add(append(slices.Clone(s.tags), "ingress.canary=header:X-Canary: 1")...); err != nil {
				return err
			}
		}
		time.Sleep(time.Second)
		s.load.mark("promotion")
		for _, i := range s.instances[3:] {
			s.sim.Promote(nomad.DefaultNamespace, i.reg.ID, s.tags)
		}
		for range 3 {
			s.remove()
		}
		time.Sleep(healthy)
	}
	return nil
}

func killOne(s *testbed) error {
	for range s.rounds {
		victim := s.instances[0]
		s.instances = s.instances[1:]
		s.load.mark("kill -9")
		victim.kill()
		time.Sleep(time.Second) // until the node tells
		s.sim.StopAlloc(victim.reg.AllocID)
		if err := s.add(s.tags...); err != nil {
			return err
		}
		time.Sleep(healthy)
	}
	return nil
}

func streamEnds(s *testbed) error {
	for range s.rounds {
		s.load.mark("end")
		s.sim.EndStreams()
		time.Sleep(healthy)
		if err := s.add(s.tags...); err != nil {
			return err
		}
		s.sim.EndStreams()
		time.Sleep(healthy)
		s.remove()
	}
	return nil
}

func cutOff(s *testbed) error {
	s.load.mark("cut off")
	s.sim.Partition(true)
	// What Nomad does meanwhile, serai cannot hear: two instances come, two
	// go, and connects tell.
	for range 2 {
		if err := s.add(s.tags...); err != nil {
			return err
		}
		time.Sleep(3 * time.Second)
		s.remove()
	}
	time.Sleep(4 * time.Second)
	s.load.mark("back")
	s.sim.Partition(false)
	time.Sleep(3 * time.Second)
	return nil
}

func errors500(s *testbed) error {
	s.load.mark("errors")
	remove := s.sim.Inject("", nomadsim.NoLeader())
	s.sim.EndStreams()
	time.Sleep(5 * time.Second)
	remove()
	s.load.mark("back")
	time.Sleep(time.Second)
	if err := s.add(s.tags...); err != nil {
		return err
	}
	time.Sleep(healthy)
	s.remove()
	return nil
}

func hang(s *testbed) error {
	s.load.begin("while it hangs")
	s.instances[0].cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(5 * time.Second)
	s.load.begin("after it")
	s.instances[0].cmd.Process.Signal(syscall.SIGCONT)
	return nil
}

// reader may read services.
func reader(secret string) nomadsim.Token {
	return nomadsim.Token{Secret: secret, Rules: []nomadsim.Rule{{Namespace: "*", Capabilities: []string{"list-jobs", "read-job"}}}}
}

// revoke revokes serai's token during a deploy. Instances stop as usual, and serai must
// find out by itself.
func revoke(s *testbed) error {
	s.load.mark("revoked")
	s.sim.DeleteToken("secret")
	time.Sleep(2 * time.Second)
	if err := s.add(s.tags...); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	s.remove()
	s.load.mark("restored")
	s.sim.PutToken(reader("secret"))
	time.Sleep(2 * time.Second)
	return rollingDeployOnce(s)
}

// noLeader is what clients see while three servers elect a leader: streams end, and
// reads that may not be stale are refused.
func noLeader(s *testbed) error {
	s.load.mark("no leader")
	s.sim.SetLeader(false)
	s.sim.EndStreams()
	time.Sleep(5 * time.Second)
	s.load.mark("a leader")
	s.sim.SetLeader(true)
	return rollingDeployOnce(s)
}

func rollingDeployOnce(s *testbed) error {
	once := *s
	once.rounds = 1
	err := rollingDeploy(&once)
	s.instances = once.instances
	return err
}

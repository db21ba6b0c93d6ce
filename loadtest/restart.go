package main

import "time"

// drained is how serai is stopped behind a balancer that checks it: long enough
// for the balancer to notice, and for clients to be sent elsewhere.
var drained = []string{"--drain-delay=1s", "--drain-timeout=5s"}

// restartOne stops and starts serai on one of the nodes, 50 times where other
// scenarios go 20 rounds.
func restartOne(s *testbed) error {
	for range s.rounds * 5 / 2 {
		s.load.mark("restart")
		if err := s.nodes[0].restart(s.ctx); err != nil {
			return err
		}
		time.Sleep(balancerNotices)
	}
	return nil
}

// restartAll does so on all nodes in turn, while the instances are deployed.
func restartAll(s *testbed) error {
	for _, n := range s.nodes {
		s.load.mark("restart")
		if err := n.restart(s.ctx); err != nil {
			return err
		}
		time.Sleep(balancerNotices)
		if err := s.add(host); err != nil {
			return err
		}
		time.Sleep(healthy)
		s.remove()
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// drained are the flags for a drain behind a balancer that checks serai: long enough
// for the balancer to notice, and to send clients elsewhere.
var drained = []string{"--drain-delay=1s", "--drain-timeout=5s"}

// restartTimes stops and starts serai on one of the nodes, so many times for so many
// rounds.
func restartTimes(times, rounds int) func(*testbed) error {
	return func(s *testbed) error {
		for range max(1, s.rounds*times/rounds) {
			s.load.mark("restart")
			if err := s.nodes[0].restart(s.ctx); err != nil {
				return err
			}
			time.Sleep(balancerNotices)
		}
		return nil
	}
}

// restartAll does so on all nodes in turn, while the instances are deployed.
func restartAll(s *testbed) error {
	for _, n := range s.nodes {
		s.load.mark("restart")
		if err := n.restart(s.ctx); err != nil {
			return err
		}
		time.Sleep(balancerNotices)
		if err := s.add(s.tags...); err != nil {
			return err
		}
		time.Sleep(healthy)
		s.remove()
	}
	return nil
}

// handOver starts another serai on the same addresses, and stops the one that was there.
func handOver(s *testbed) error {
	for range max(1, s.rounds/2) {
		s.load.mark("hand-over")
		if err := s.nodes[0].replace(s.ctx); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	return nil
}

// replace starts another process on the same addresses, with --reuse-port, and ends the
// one before once that is ready.
func (i *ingress) replace(ctx context.Context) error {
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	next := &ingress{address: admin, binary: i.binary, args: append(slices.Clone(i.args), "--admin="+admin), env: i.env}
	// Both answer on the shared address: only this one's own tells whether it is ready.
	if err := next.run(ctx); err != nil {
		return err
	}
	err = next.await(ctx, admin, "/ready")
	old := i.cmd
	i.cmd = next.cmd
	if err != nil {
		return err
	}
	if err := endProcess(old); err != nil {
		return fmt.Errorf("serai ended with %w", err)
	}
	return nil
}

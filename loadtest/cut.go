package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The addresses of the network of one scenario, which nobody outside of it
// sees: a bridge on this machine with a network namespace for each instance.
const (
	bridgeName    = "serai-lt"
	bridgeAddress = "10.203.17.1/24"
	bridgePrefix  = "10.203.17."
)

// namespaces has each instance run in a network namespace of its own, so that
// its network can be cut. It needs root and iproute2.
func namespaces(ctx context.Context, t *town) (end func(), err error) {
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it needs root and the command ip", errSkipped)
	}
	n := 0
	end = func() {
		for i := range n {
			ip("netns", "delete", spaceName(i+1))
		}
		ip("link", "delete", bridgeName)
	}
	for _, args := range []string{
		"link add " + bridgeName + " type bridge", "address add " + bridgeAddress + " dev " + bridgeName, "link set " + bridgeName + " up",
	} {
		if err := ip(strings.Fields(args)...); err != nil {
			end()
			return nil, fmt.Errorf("%w: %w", errSkipped, err)
		}
	}
	t.place = func() (string, []string, error) {
		n++
		space, address := spaceName(n), fmt.Sprintf("%s%d", bridgePrefix, n+1)
		for _, args := range []string{
			"netns add " + space,
			"link add " + portName(n) + " type veth peer name eth0 netns " + space,
			"link set " + portName(n) + " master " + bridgeName + " up",
			"-n " + space + " address add " + address + "/24 dev eth0",
			"-n " + space + " link set eth0 up",
		} {
			if err := ip(strings.Fields(args)...); err != nil {
				return "", nil, err
			}
		}
		return address + ":8080", []string{"ip", "netns", "exec", space}, nil
	}
	return end, nil
}

func spaceName(n int) string { return fmt.Sprintf("%s-%d", bridgeName, n) }
func portName(n int) string  { return fmt.Sprintf("%s%d", bridgeName, n) }

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// cutNetwork takes the first instance's port out of the bridge: nothing gets
// there and nothing comes back, and nobody is told.
func cutNetwork(s *stage) error {
	s.load.begin("before")
	time.Sleep(2 * time.Second)
	s.load.begin("the first 3 seconds of the cut")
	if err := ip("link", "set", portName(1), "nomaster"); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	s.load.begin("the next 7 seconds")
	time.Sleep(7 * time.Second)
	s.load.begin("after it")
	if err := ip("link", "set", portName(1), "master", bridgeName); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	return nil
}

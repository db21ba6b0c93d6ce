package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The addresses of the network of one scenario, which nobody outside of it
// sees: a bridge on this machine with a network namespace for each member.
const (
	bridgeName    = "serai-lt"
	bridgeAddress = "10.203.17.1/24"
	bridgePrefix  = "10.203.17."
	bridgeHost    = bridgePrefix + "1"
)

// network is that bridge with what is on it: instances, nodes, or clients, each
// of which can be cut off.
type network struct{ spaces []*space }

// space is a network namespace with one port on the bridge.
type space struct {
	name    string
	port    string // of the bridge
	address string // inside, without a port
}

// newNetwork makes the bridge. It needs root and iproute2.
func newNetwork() (*network, error) {
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it needs root and the command ip", errSkipped)
	}
	n := &network{}
	if err := ip("link add " + bridgeName + " type bridge"); err != nil {
		return nil, fmt.Errorf("%w: %w", errSkipped, err)
	}
	for _, args := range []string{
		"address add " + bridgeAddress + " dev " + bridgeName, "link set " + bridgeName + " up",
	} {
		if err := ip(args); err != nil {
			n.end()
			return nil, fmt.Errorf("%w: %w", errSkipped, err)
		}
	}
	return n, nil
}

// add makes one more namespace.
func (n *network) add() (*space, error) {
	i := len(n.spaces) + 1
	s := &space{name: fmt.Sprintf("%s-%d", bridgeName, i), port: fmt.Sprintf("%s%d", bridgeName, i), address: fmt.Sprintf("%s%d", bridgePrefix, i+1)}
	n.spaces = append(n.spaces, s)
	for _, args := range []string{
		"netns add " + s.name,
		"link add " + s.port + " type veth peer name " + spaceInterface + " netns " + s.name,
		"link set " + s.port + " master " + bridgeName + " up",
		"-n " + s.name + " address add " + s.address + "/24 dev " + spaceInterface,
		"-n " + s.name + " link set lo up",
		"-n " + s.name + " link set " + spaceInterface + " up",
	} {
		if err := ip(args); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// place is where a town puts its next instance.
func (n *network) place() (address string, command []string, err error) {
	s, err := n.add()
	if err != nil {
		return "", nil, err
	}
	return s.address + ":8080", s.command(), nil
}

// end removes all of it.
func (n *network) end() {
	for _, s := range n.spaces {
		// The kernel takes a namespace down when it likes; with it went the
		// port, whose name the next scenario wants.
		ip("link delete " + s.port)
		ip("netns delete " + s.name)
	}
	ip("link delete " + bridgeName)
}

// spaceInterface is what the port's other end is called in the namespace.
const spaceInterface = "eth0"

// command is what a command line begins with whose process is to run in there.
func (s *space) command(args ...string) []string {
	return append([]string{"ip", "netns", "exec", s.name}, args...)
}

// cut takes the port out of the bridge: nothing gets there and nothing comes
// back, and nobody is told.
func (s *space) cut() error { return ip("link set " + s.port + " nomaster") }

// join puts it back.
func (s *space) join() error { return ip("link set " + s.port + " master " + bridgeName) }

func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

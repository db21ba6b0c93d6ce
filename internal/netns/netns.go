// Package netns makes separate hosts on this machine, for tests and for loadtest:
// network namespaces on a bridge, each of which can be disconnected.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// ErrUnavailable is returned when namespaces cannot be made: they need root, iproute2,
// and a bridge that nothing else uses.
var ErrUnavailable = errors.New("no network namespaces")

// Network is a bridge on this machine, invisible outside of it, with the namespaces on
// it: instances, nodes, or clients.
type Network struct {
	// Host is the address of this machine on the bridge.
	Host   string
	Spaces []*Space

	bridge, prefix string
}

// Space is a network namespace with one port on the bridge.
type Space struct {
	// Address is the address inside, without a port.
	Address string

	name, bridge string
	port         string // of the bridge
}

// Interface is the name of the port's other end in the namespace.
const Interface = "eth0"

// New makes a bridge. Its name has at most 13 letters, and its addresses begin with a
// prefix such as "10.203.17.".
func New(bridge, prefix string) (*Network, error) {
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it needs root and the command ip", ErrUnavailable)
	}
	n := &Network{Host: prefix + "1", bridge: bridge, prefix: prefix}
	if err := ip("link add " + bridge + " type bridge"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, args := range []string{"address add " + n.Host + "/24 dev " + bridge, "link set " + bridge + " up"} {
		if err := ip(args); err != nil {
			n.End()
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return n, nil
}

// Add makes one more namespace.
func (n *Network) Add() (*Space, error) {
	i := len(n.Spaces) + 1
	s := &Space{bridge: n.bridge, name: fmt.Sprintf("%s-%d", n.bridge, i), port: fmt.Sprintf("%s%d", n.bridge, i), Address: fmt.Sprintf("%s%d", n.prefix, i+1)}
	n.Spaces = append(n.Spaces, s)
	for _, args := range []string{
		"netns add " + s.name,
		"link add " + s.port + " type veth peer name " + Interface + " netns " + s.name,
		"link set " + s.port + " master " + n.bridge + " up",
		"-n " + s.name + " address add " + s.Address + "/24 dev " + Interface,
		"-n " + s.name + " link set lo up",
		"-n " + s.name + " link set " + Interface + " up",
	} {
		if err := ip(args); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// End removes all of it.
func (n *Network) End() {
	for _, s := range n.Spaces {
		// The kernel removes a namespace some time later, and its port, whose name the
		// next network needs, with it.
		ip("link delete " + s.port)
		ip("netns delete " + s.name)
	}
	ip("link delete " + n.bridge)
}

// Command returns a command line that runs args in the namespace. It runs in the
// process itself, not in a child.
func (s *Space) Command(args ...string) []string {
	return append([]string{"ip", "netns", "exec", s.name}, args...)
}

// Name is that of the namespace, for commands that enter it.
func (s *Space) Name() string { return s.name }

// Cut takes the port out of the bridge: packets are dropped silently in both
// directions.
func (s *Space) Cut() error { return ip("link set " + s.port + " nomaster") }

// Join undoes Cut.
func (s *Space) Join() error { return ip("link set " + s.port + " master " + s.bridge) }

// Dial connects from inside the namespace, for instance to its loopback. The address is
// an IP address with its port.
func (s *Space) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	dialed := make(chan result, 1)
	go func() {
		// Never unlocked: the thread, which stays in the namespace, ends with
		// the goroutine.
		runtime.LockOSThread()
		c, err := s.dialHere(ctx, network, address)
		dialed <- result{c, err}
	}()
	r := <-dialed
	return r.conn, r.err
}

// dialHere moves its thread into the namespace, and connects.
func (s *Space) dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	file, err := os.Open("/run/netns/" + s.name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := enter(file); err != nil {
		return nil, fmt.Errorf("enter %s: %w", file.Name(), err)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

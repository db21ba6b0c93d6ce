package main

import (
	"fmt"
	"os"

	"serai/internal/netns"
)

// newNetwork makes a network, with a name and addresses that no other run uses. If that
// is not possible, a scenario is skipped.
func newNetwork() (n *netns.Network, err error) {
	const networks, attempts = 200, 5
	for i := range attempts {
		number := (os.Getpid() + i) % networks
		n, err = netns.New(fmt.Sprintf("serai-lt%d-", number), fmt.Sprintf("10.203.%d.", 17+number))
		if err == nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", errSkipped, err)
}

// placeOn is where simJobs puts its next instance: in a namespace of its own.
func placeOn(n *netns.Network) func() (address string, command []string, err error) {
	return func() (string, []string, error) {
		s, err := n.Add()
		if err != nil {
			return "", nil, err
		}
		return s.Address + ":8080", s.Command(), nil
	}
}

package main

import (
	"fmt"

	"serai/internal/netns"
)

// The network of one scenario.
const (
	bridgeName   = "serai-lt"
	bridgePrefix = "10.203.17."
	bridgeHost   = bridgePrefix + "1"
)

// newNetwork makes it; where that cannot be, a scenario is skipped.
func newNetwork() (*netns.Network, error) {
	n, err := netns.New(bridgeName, bridgePrefix)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSkipped, err)
	}
	return n, nil
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

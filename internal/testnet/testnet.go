// Package testnet gives tests ports that they pass to other processes.
package testnet

import (
	"testing"

	"serai/internal/freeport"
)

// Ports returns n loopback ports on which nothing listens, and which no other test
// gets, in any process, while this one runs.
func Ports(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		ports = append(ports, port(t))
	}
	return ports
}

// Address returns an address with such a port.
func Address(t testing.TB) string {
	t.Helper()
	return freeport.Address(port(t))
}

func port(t testing.TB) int {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Package testnet finds ports for tests that pass them to other processes.
package testnet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// The ports are below the kernel's range for outgoing connections, and below the one from
// which Nomad gives ports to its jobs: either could take one between a test's check of it
// and its use.
const lowest, highest = 10000, 20000

var (
	mu    sync.Mutex
	given = make(map[int]bool)
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
	return address(port(t))
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := lowest + rand.IntN(highest-lowest)
		mu.Lock()
		taken := given[port]
		given[port] = true
		mu.Unlock()
		if taken || !reserve(port) {
			continue
		}
		if l, err := net.Listen("tcp", address(port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

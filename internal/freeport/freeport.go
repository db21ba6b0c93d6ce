// Package freeport finds ports for programs that tests and trials start.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports are below the kernel's range for outgoing connections, and below the one from
// which Nomad gives ports to its jobs: either could take one between a check of it and its
// use.
const lowest, highest = 10000, 20000

var (
	mu    sync.Mutex
	given = make(map[int]bool)
)

// Take returns a port of the loopback on which nothing listens, and which nobody else is
// given, in any process, until this one ends.
func Take() (int, error) {
	for range 1000 {
		port := lowest + rand.IntN(highest-lowest)
		mu.Lock()
		taken := given[port]
		given[port] = true
		mu.Unlock()
		if taken || !reserve(port) {
			continue
		}
		if l, err := net.Listen("tcp", Address(port)); err == nil {
			l.Close()
			return port, nil
		}
	}
	return 0, errors.New("no port is free")
}

// Address is that of a port of the loopback.
func Address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Package testnet finds addresses for tests that hand them to other processes.
package testnet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// The ports lie below those that the kernel takes for outgoing connections: one
// of these could be taken between a test's look at it and its use.
const lowest, highest = 10000, 32000

var (
	mu    sync.Mutex
	given = make(map[int]bool)
)

// Address returns an address on the loopback that nobody listens on, and that no
// other test of this process is given.
func Address(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := lowest + rand.IntN(highest-lowest)
		mu.Lock()
		taken := given[port]
		given[port] = true
		mu.Unlock()
		if taken {
			continue
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

//go:build linux && !race

package socket

import "testing"

// TestAllocNothingAtTheEnd: reading a socket's queues, which happens for each
// connection that serai closes, allocates nothing.
func TestAllocNothingAtTheEnd(t *testing.T) {
	near, _ := pair(t)
	if n := testing.AllocsPerRun(1000, func() {
		if !settled(near.rawConn()) {
			t.Fatal("a new connection is not settled")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

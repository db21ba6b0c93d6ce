package testnet

import "testing"

// TestNobodyElseIsGivenAPort: a second reservation, as another process would make it,
// fails while the first one is held.
func TestNobodyElseIsGivenAPort(t *testing.T) {
	port := Ports(t, 1)[0]
	if reserve(port) {
		t.Errorf("port %d is given twice", port)
	}
}

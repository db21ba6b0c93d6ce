package freeport

import "testing"

// TestNobodyElseIsGivenAPort: a second reservation, as another process would make it,
// fails while the first one is held.
func TestNobodyElseIsGivenAPort(t *testing.T) {
	port, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	if reserve(port) {
		t.Errorf("port %d is given twice", port)
	}
}

//go:build !race

package wire

import "testing"

// TestAllocNothingForValues: the memory is used again, once it is large enough.
func TestAllocNothingForValues(t *testing.T) {
	var v Values
	all := func() {
		v.Reset()
		for range 10 {
			v.Keep(append(v.Start(), "203.0.113.9, 10.0.0.1"...))
		}
	}
	for range 10 {
		all()
	}
	if n := testing.AllocsPerRun(100, all); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

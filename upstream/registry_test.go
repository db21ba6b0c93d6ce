package upstream_test

import (
	"slices"
	"testing"

	"serai/upstream"
)

// TestAllKeepsUp: whoever asks for all endpoints gets those of that moment, and what somebody has got before stays
// as it was.
func TestAllKeepsUp(t *testing.T) {
	r := upstream.NewRegistry(upstream.RegistryOptions{})
	if got := r.All(); len(got) != 0 {
		t.Fatalf("an empty registry has %d endpoints", len(got))
	}
	a := r.Acquire(upstream.Target{Address: "127.0.0.1:1"})
	one := r.All()
	b := r.Acquire(upstream.Target{Address: "127.0.0.1:2"})
	two := r.All()
	r.Acquire(upstream.Target{Address: "127.0.0.1:1"})
	r.Release(a) // one of its two
	same := r.All()
	r.Release(a)
	last := r.All()
	for _, c := range []struct {
		name      string
		got, want []*upstream.Endpoint
	}{{"with one", one, []*upstream.Endpoint{a}}, {"with two", two, []*upstream.Endpoint{a, b}}, {"while one is still held", same, []*upstream.Endpoint{a, b}}, {"after one has gone", last, []*upstream.Endpoint{b}}} {
		if len(c.got) != len(c.want) || slices.ContainsFunc(c.want, func(e *upstream.Endpoint) bool { return !slices.Contains(c.got, e) }) {
			t.Errorf("%s: %d endpoints, want %d", c.name, len(c.got), len(c.want))
		}
	}
	if allocs := testing.AllocsPerRun(10, func() { r.All() }); allocs > 0 {
		t.Errorf("asking again takes %.0f allocations", allocs)
	}
}

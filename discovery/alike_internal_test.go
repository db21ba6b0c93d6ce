package discovery

import "testing"

// TestAlike: problems that differ in numbers alone are the same.
func TestAlike(t *testing.T) {
	const reset = "nomad agent unreachable: read tcp 127.0.0.1:59736->127.0.0.1:4646: read: connection reset by peer"
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{reset, "nomad agent unreachable: read tcp 127.0.0.1:8->127.0.0.1:4646: read: connection reset by peer", true},
		{reset, "nomad agent unreachable: dial tcp 127.0.0.1:4646: connect: connection refused", false},
		{"", reset, false},
		{"answered 500 \"request 17\"", "answered 500 \"request 18\"", true},
		{"answered 500 \"No cluster leader\"", "answered 500 \"No path to region\"", false},
	} {
		if alike(c.a, c.b) != c.want {
			t.Errorf("%q and %q are alike: %v", c.a, c.b, !c.want)
		}
	}
}

package discovery_test

import (
	"testing"

	"serai/discovery"
)

func TestNearPrefix(t *testing.T) {
	for _, c := range []struct {
		prefix, tag string
		near        bool
	}{
		{"ingress", "ingres.host=x", true}, {"ingress", "ngress.host=x", true}, {"ingress", "ingresss.host=x", true},
		{"ingress", "Ingress.host=x", true}, {"ingress", "INGRESS.host=x", true}, {"ingress", "ingersS.host=x", true}, {"", "a", false},
		{"ingress", "ingerss.host=x", true}, {"ingress", "inkress.host=x", true},
		{"ingress", "ingress.host=x", false}, {"ingress", "ingress2.host=x", false}, {"ingress", "ingress-.host=x", false},
		{"ingress", "1ngress.host=x", false}, {"ingress", "egress.host=x", false}, {"ingress", "ingres", false}, {"ingress", "ingres.host", false},
		{"ingress", "ingres=host.x", false}, {"ingress", "", false}, {"ingress", ".host=x", false},
		{"web", "wab.host=x", false}, {"web", "WEB.host=x", true}, {"ab", "a.host=x", false}, {"", ".host=x", false}, {"", "a.host=x", false},
	} {
		if got := discovery.NearPrefix(c.tag, c.prefix); got != c.near {
			t.Errorf("%q is near %q: %v, want %v", c.tag, c.prefix, got, c.near)
		}
	}
}

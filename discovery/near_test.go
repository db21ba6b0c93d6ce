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
		// What one does not see, as split(",", "a, b") leaves it, and other signs than a dot.
		{"ingress", " ingress.host=x", true}, {"ingress", "\tingress.host=x", true}, {"ingress", "\n ingress.host=x", true}, {"ingress", "\u00a0ingress.host=x", true},
		{"ingress", "\ufeffingress.host=x", true}, {"ingress", "\u200bingress.host=x", true}, {"ingress", "ingress .host=x", true}, {"ingress", " Ingres.host=x", true},
		{"ingress", "\"ingress.host=x\"", true}, {"ingress", "'ingress.host=x'", true}, {"ingress", "ingress:host=x", true}, {"ingress", "ingress/host=x", true},
		{"ingress", "ingress,host=x", true}, {"ingress", "ingress host=x", true}, {"ingress", "Ingress: host=x", true}, {"ingress", "\u0456ngress.host=x", true},
		{"ingress", "ing\u00adress.host=x", true}, {"ingress", "in\u0261ress.host=x", true}, {"ingress", "ingress\u200b.host=x", true},
		{"ingress", " ingress.host", false}, {"ingress", " ingress2.host=x", false}, {"ingress", " web.host=x", false}, {"ingress", " ", false}, {"ingress", " =", false},
		{"ingress", "ingres:host=x", false}, {"ingress", "ingress=x.y", false}, {"ingress", "ingress\uff0ehost=x", true}, {"ingress", "\xff\xfeingress.host=x", false},
		{"", " .host=x", false}, {"web", " web.host=x", true}, {"web", "w\u0435b.host=x", false},
		{"web", "wab.host=x", false}, {"web", "WEB.host=x", true}, {"ab", "a.host=x", false}, {"", ".host=x", false}, {"", "a.host=x", false},
	} {
		if got := discovery.NearPrefix(c.tag, c.prefix); got != c.near {
			t.Errorf("%q is near %q: %v, want %v", c.tag, c.prefix, got, c.near)
		}
	}
}

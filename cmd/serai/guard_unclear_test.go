package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
)

// TestUnclearGuardsAreNotPassedBy: where it cannot be read which requests a guarded route takes,
// no client reaches the instance by a route beside it, whichever protocol it speaks, and
// /rejections, /routes and /explain say why; another host of the instance goes on.
func TestUnclearGuardsAreNotPassedBy(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	at := i.registration("ingress.open.host=open.example.org", "ingress.admin.host="+authHost, "ingress.admin.path=admin", "ingress.admin.allow=192.0.2.0/24")
	admin := testnet.Address(t)
	_, address := serveStatic(t, []nomad.Registration{at}, "--admin="+admin)
	for name, h := range webClients(t, address) {
		for _, path := range []string{"/", "/admin", "/admin/x", "/%61dmin", "//admin"} {
			g := request(t, h, "GET", path)
			if g.status != 503 || g.fields.Get("X-Serai-Reason") != "guard-refused" {
				t.Errorf("%s: %s is answered %d with %v", name, path, g.status, g.fields)
			}
		}
		if n := i.count(); n != 0 {
			t.Fatalf("%s: %d requests have reached the instance", name, n)
		}
	}
	upgrade := request(t, webClients(t, address)["HTTP/1"], "GET", "/ws", "Connection: Upgrade", "Upgrade: echo")
	grpc := request(t, webClients(t, address)["HTTP/2"], "POST", "/pkg.Service/Method", "Content-Type: application/grpc", "Te: trailers")
	if upgrade.status != 503 || grpc.fields.Get("Grpc-Status") != "14" || i.count() != 0 {
		t.Errorf("an upgrade is answered %d, gRPC %d with %v; %d have reached the instance", upgrade.status, grpc.status, grpc.fields, i.count())
	}
	r, err := http.NewRequest("GET", "http://open.example.org/admin", nil)
	if err != nil {
		t.Fatal(err)
	}
	if g := do(t, webClients(t, address)["HTTP/1"], r); g.status != 200 {
		t.Errorf("another host of the instance is answered %d", g.status)
	}
	for path, want := range map[string]string{
		"/rejections":                      "it is not clear which requests it takes",
		"/explain?path=/&host=" + authHost: "or of one beside it, is refused",
		"/routes":                          `"closed": true`,
	} {
		res, err := http.Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s does not say %q: %v %s", path, want, err, body)
		}
	}
}

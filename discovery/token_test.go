package discovery_test

import (
	"os"
	"path/filepath"
	"testing"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// TestRenewedToken: Nomad renews an identity that has a TTL, and sends no event on a stream
// whose identity has expired. A stream with the new one takes over before, without a break.
func TestRenewedToken(t *testing.T) {
	t.Parallel()
	for scope, namespaces := range map[string][]string{"all namespaces": nil, "one namespace": {"default"}} {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nomadsim.Options{ACL: true})
			for _, secret := range []string{"first", "second"} {
				a.PutToken(nomadsim.Token{Secret: secret, Rules: []nomadsim.Rule{{Namespace: "*", Capabilities: []string{"read-job"}}}})
			}
			a.Register(reg("web", "1"))
			file := filepath.Join(t.TempDir(), "nomad_serai.jwt")
			if err := os.WriteFile(file, []byte("first"), 0o600); err != nil {
				t.Fatal(err)
			}
			watched, err := discovery.ParseNamespaces(namespaces)
			if err != nil {
				t.Fatal(err)
			}
			w := nomadWatch(t, a, discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: a.url, TokenFile: file}), Namespaces: watched})
			w.has("default/web/1")
			w.until("life", live)
			before := w.status()[0]
			if err := os.WriteFile(file, []byte("second"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.until("a stream with the new token", func(s discovery.Status) bool { return s.Continued > before.Continued })
			a.DeleteToken("first")
			a.Register(reg("web", "2"))
			w.has("default/web/1", "default/web/2")
			if now := w.status()[0]; now.Breaks != before.Breaks || now.Scans != before.Scans {
				t.Errorf("with the new token: %+v, before: %+v", now, before)
			}
		})
	}
}

package tls_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serai/tls"
)

// TestRulesThatDemandNothing: a host that no connection can be for is refused, because its
// rule would leave the host open that was meant.
func TestRulesThatDemandNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	ca, _ := pair(t, nextYear, "ca.test")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for host, good := range map[string]bool{
		"a.test": true, "A.Test.": true, "*.a.test": true, "xn--bcher-kva.test": true, "a_b.test": true,
		"bücher.test": false, "*.bücher.test": false, "\u212a.test": false, "a.test..": false, ".a.test": false, "a..test": false, "\ta.test": false,
		"a.test:443": false, "https://a.test": false, "*": false, "*.": false, "*.*.test": false, "": false, "a,b.test": false,
	} {
		_, err := tls.NewClients([]tls.ClientRule{{Hosts: []string{host}, CAFile: file}})
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "is not a host name in ASCII") {
			t.Errorf("a rule for %q: %v", host, err)
		}
	}
}

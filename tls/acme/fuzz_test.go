package acme

import (
	"testing"

	"serai/tls/certstore"
)

// FuzzRecords: whatever others write into the store, reading it fails or returns
// something complete.
func FuzzRecords(f *testing.F) {
	f.Add("a.test", "ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "3")
	f.Add("", "", "", "", "")
	f.Add("a.test", "ca", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "2026-11-25T00:00:00Z", "-1")
	f.Fuzz(func(t *testing.T, name, ca, a, b, c string) {
		items := map[string]string{"name": name, "ca": ca, "crt": a, "key": b, "error": a, "attempts": c, "last": b, "next": b, "keys": a, "since": b}
		if host, cert, err := readCertificate(&certstore.Record{Path: certPath(ca, name), Items: items}, nil); err == nil {
			if host != name || cert.Leaf == nil || cert.PrivateKey == nil || !cert.Covers(host) {
				t.Errorf("half a certificate of %q was taken", host)
			}
		}
		if failure, err := readFailure(&certstore.Record{Path: failurePath(name), Items: items}); err == nil && (failure.Host == "" || failure.Attempts < 1) {
			t.Error("a failure of no host was taken")
		}
		if read, err := readTickets(&certstore.Record{Path: ticketPath, Items: items}, nil); err == nil && len(read.keys) == 0 {
			t.Error("tickets without a key were taken")
		}
	})
}

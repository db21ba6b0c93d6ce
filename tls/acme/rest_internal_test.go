package acme

import (
	"crypto/x509"
	"testing"
	"time"

	"serai/tls"
)

// TestRest: a certificate that comes expired is no reason to order the next one at once.
func TestRest(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		from, until time.Duration
		want        time.Duration
	}{
		{-time.Hour, 90 * 24 * time.Hour, time.Hour},
		{0, time.Minute, 6 * time.Second},
		{-time.Hour, -time.Minute, time.Hour},
		{-time.Hour, 0, time.Hour},
		{0, -24 * time.Hour, time.Hour},
	} {
		cert := &tls.Certificate{}
		cert.Leaf = &x509.Certificate{NotBefore: now.Add(c.from), NotAfter: now.Add(c.until)}
		if got := restAfter(cert, now); got != c.want {
			t.Errorf("valid from %v until %v: %v, want %v", c.from, c.until, got, c.want)
		}
	}
}

package main

import (
	"crypto/tls"
	"fmt"

	"serai/internal/boundedhttp"
)

// fileFlag is a flag that names a file: its name, and the path that was given, empty for none.
type fileFlag struct{ name, path string }

// clientTLS is how serai speaks TLS to others: with the roots that verify them, the system's
// when none are given, and with a certificate of its own and its key, or without.
func clientTLS(roots, cert, key fileFlag) (*tls.Config, error) {
	c := &tls.Config{}
	if roots.path != "" {
		var err error
		if c.RootCAs, err = boundedhttp.ReadRoots(roots.path); err != nil {
			return nil, fmt.Errorf("--%s: %w", roots.name, err)
		}
	}
	if cert.path != "" {
		if _, err := tls.LoadX509KeyPair(cert.path, key.path); err != nil {
			return nil, fmt.Errorf("--%s=%s with --%s=%s: %w", cert.name, cert.path, key.name, key.path, err)
		}
		boundedhttp.FreshCertificate(c, "the server", cert.path, key.path)
	}
	return c, nil
}

package boundedhttp

import (
	"crypto/x509"
	"fmt"
	"os"
)

// ReadRoots reads the roots that verify a server: a file of certificates in PEM.
func ReadRoots(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("read %s: it has no certificate in PEM", file)
	}
	return pool, nil
}

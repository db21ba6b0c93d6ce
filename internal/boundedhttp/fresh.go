package boundedhttp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// errSlowHandshake is what net/http says of a handshake of its own that takes too long.
var errSlowHandshake = errors.New("TLS handshake timeout")

// FreshRoots has the authorities read for each new connection of a transport, whose dialler,
// TLS settings and limit of a handshake stay: a CA is replaced in place like the certificates
// that it signs, and whoever read it once is cut off from its server then. While they cannot be
// read, the last ones count. They must be readable now. Connections through an HTTP proxy are
// net/http's own: for these the authorities of this moment count.
func FreshRoots(tr *http.Transport, read func() (*x509.CertPool, error)) error {
	first, err := read()
	if err != nil {
		return err
	}
	r := &roots{read: read, last: first}
	tr.TLSClientConfig.RootCAs = first
	tr.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := tr.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		config := tr.TLSClientConfig.Clone()
		config.RootCAs = r.now()
		if config.ServerName == "" {
			if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
				c.Close()
				return nil, err
			}
		}
		limited, cancel := context.WithTimeout(ctx, tr.TLSHandshakeTimeout)
		defer cancel()
		secure := tls.Client(c, config)
		if err := secure.HandshakeContext(limited); err != nil {
			c.Close()
			if limited.Err() != nil && ctx.Err() == nil {
				err = errSlowHandshake
			}
			return nil, err
		}
		return secure, nil
	}
	return nil
}

// FreshCertificate has the certificate of a file read for each handshake with to: client
// certificates are short-lived and rewritten in place.
func FreshCertificate(c *tls.Config, to, cert, key string) {
	c.Certificates = nil
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("load the client certificate for %s: %w", to, err)
		}
		return &pair, nil
	}
}

// roots are the authorities as they could be read last.
type roots struct {
	read func() (*x509.CertPool, error)
	mu   sync.Mutex
	last *x509.CertPool // guarded by mu
}

func (r *roots) now() *x509.CertPool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pool, err := r.read(); err == nil && !pool.Equal(x509.NewCertPool()) { // a directory may be empty for a moment
		r.last = pool
	}
	return r.last
}

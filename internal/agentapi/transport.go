package agentapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// silence is after how long a connection ends whose other end acknowledges nothing. A query
// may wait on it for minutes, for an answer that the network has lost.
const silence = 30 * time.Second

// NewTransport returns a transport for one agent, which keeps that many connections. It
// uses no proxy: the agent is on this machine or in this network. The caller sets up TLS.
func NewTransport(a Address, connections int) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 2, Interval: silence / 6, Count: 3}, Control: boundSilence}
	tr := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     90 * time.Second,
		// An agent's head is a few hundred bytes.
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if a.Socket != "" {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", a.Socket)
		}
	}
	return tr
}

// ClientCertificate has the certificate of a file read for each handshake: client
// certificates are short-lived and rewritten in place.
func ClientCertificate(c *tls.Config, program, cert, key string) {
	c.Certificates = nil
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("load the client certificate for %s: %w", program, err)
		}
		return &pair, nil
	}
}

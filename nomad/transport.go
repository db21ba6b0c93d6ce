package nomad

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/nomad/api"
)

// newTransport returns a transport for one agent. It uses no proxy: the agent is on
// this machine or in this network, and only OptionsFromEnv reads the environment.
func newTransport(a address, t TLS) (*http.Transport, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	tr := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		// A cold start reads 32 services at a time.
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     90 * time.Second,
		// An agent's head is a few hundred bytes.
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if a.socket != "" {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", a.socket)
		}
		return tr, nil
	}
	if a.base.Scheme != "https" {
		return tr, nil
	}
	// Nomad's own client decides the meaning of its TLS settings.
	err := api.ConfigureTLS(&http.Client{Transport: tr}, &api.TLSConfig{
		CACert:        t.CACert,
		CAPath:        t.CAPath,
		ClientCert:    t.ClientCert,
		ClientKey:     t.ClientKey,
		TLSServerName: t.ServerName,
		Insecure:      t.SkipVerify,
	})
	if err != nil {
		return nil, fmt.Errorf("set up TLS for nomad at %s: %w", a.base.Host, err)
	}
	if t.ClientCert != "" {
		// Client certificates are short-lived and rewritten in place: read
		// them for each handshake instead of once.
		tr.TLSClientConfig.Certificates = nil
		tr.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(t.ClientCert, t.ClientKey)
			if err != nil {
				return nil, fmt.Errorf("load the client certificate for nomad: %w", err)
			}
			return &c, nil
		}
	}
	return tr, nil
}

package nomad

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"

	"github.com/hashicorp/nomad/api"

	"serai/internal/agentapi"
	"serai/internal/boundedhttp"
)

// connections are kept for a cold start, which reads 32 services at a time.
const connections = 32

// newTransport returns a transport for one agent. Only OptionsFromEnv reads the
// environment.
func newTransport(a agentapi.Address, t TLS) (*http.Transport, error) {
	tr := agentapi.NewTransport(a, connections)
	if a.Base.Scheme != "https" {
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
		return nil, fmt.Errorf("set up TLS for nomad at %s: %w", a.Base.Host, err)
	}
	if t.CACert != "" || t.CAPath != "" {
		if err := boundedhttp.FreshRoots(tr, t.roots); err != nil {
			return nil, fmt.Errorf("set up TLS for nomad at %s: %w", a.Base.Host, err)
		}
	}
	if t.ClientCert != "" {
		boundedhttp.FreshCertificate(tr.TLSClientConfig, "nomad", t.ClientCert, t.ClientKey)
	}
	return tr, nil
}

// roots are the authorities in CACert or CAPath as they are now.
func (t TLS) roots() (*x509.CertPool, error) {
	tr := &http.Transport{TLSClientConfig: &tls.Config{}}
	if err := api.ConfigureTLS(&http.Client{Transport: tr}, &api.TLSConfig{CACert: t.CACert, CAPath: t.CAPath}); err != nil {
		return nil, err
	}
	return tr.TLSClientConfig.RootCAs, nil
}

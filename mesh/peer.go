package mesh

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"serai/upstream"
)

// Config is what a connection to a peer is opened with. Each handshake checks against what
// is known then.
func (m *Mesh) Config(to upstream.Peer) (*tls.Config, error) {
	m.want()
	known := m.known.Load()
	if why := m.lacks(known, time.Now()); why != "" {
		return nil, fmt.Errorf("%w: %s", upstream.ErrNoIdentity, why)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// For gateways between datacenters; sidecars ignore it.
		ServerName: fmt.Sprintf("%s.default.%s.internal.%s", to.Service, to.Datacenter, known.domain),
		// Identities are URIs, which the library does not compare: check does.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return m.check(to, s.PeerCertificates) },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return m.known.Load().certificate, nil
		},
	}, nil
}

// lacks says what is missing for a connection, empty when nothing is.
func (m *Mesh) lacks(known *identity, now time.Time) string {
	because := func(f *followed) string {
		if _, err := f.trouble(); err != nil {
			return ": " + err.Error()
		}
		return ""
	}
	switch {
	case known.certificate == nil:
		return "serai has no certificate yet" + because(m.leaf)
	case now.After(known.until):
		return "serai's certificate expired at " + known.until.UTC().Format(time.RFC3339) + because(m.leaf)
	case known.pool == nil:
		return "the roots are not known yet" + because(m.roots)
	case now.After(known.rootsUntil):
		return "the last root expired at " + known.rootsUntil.UTC().Format(time.RFC3339) + because(m.roots)
	}
	return ""
}

// check reports whether certificates are those of a peer.
func (m *Mesh) check(to upstream.Peer, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return &upstream.StrangerError{Why: "it has no certificate"}
	}
	known := m.known.Load()
	o := x509.VerifyOptions{Roots: known.pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		m.roots.refresh() // there may be a new one
		return err
	}
	uri, err := onlyURI(chain[0])
	if err != nil {
		return &upstream.StrangerError{Why: err.Error()}
	}
	want := &url.URL{Scheme: "spiffe", Host: known.domain, Path: fmt.Sprintf("/ns/default/dc/%s/svc/%s", to.Datacenter, to.Service)}
	if !strings.EqualFold(uri.Host, want.Host) || uri.EscapedPath() != want.EscapedPath() {
		return &upstream.StrangerError{Why: fmt.Sprintf("its certificate is of %s, not of %s", uri, want)}
	}
	return nil
}

// onlyURI is the identity in a certificate: its one URI, which is a SPIFFE ID
// (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
func onlyURI(c *x509.Certificate) (*url.URL, error) {
	if len(c.URIs) != 1 {
		return nil, fmt.Errorf("its certificate has %d URIs; want one", len(c.URIs))
	}
	u := c.URIs[0]
	if !strings.EqualFold(u.Scheme, "spiffe") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, errors.New("its certificate has no SPIFFE ID")
	}
	return u, nil
}

// certificatesIn are the certificates in a PEM text; what is none is left out.
func certificatesIn(text string) (all []*x509.Certificate) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
}

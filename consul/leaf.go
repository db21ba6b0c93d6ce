package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Leaf is the certificate of a service in Consul's mesh, with its key, as the agent issues
// and renews it. It is a secret: no error shows any of it.
// Source: https://developer.hashicorp.com/consul/api-docs/agent/connect#service-leaf-certificate.
type Leaf struct {
	// CertPEM is the certificate, followed by what leads to a root. PrivateKeyPEM is its key.
	CertPEM, PrivateKeyPEM  string
	Service, ServiceURI     string
	ValidAfter, ValidBefore time.Time
}

// Roots are the authorities of the mesh, of which one is active: the others were, and are
// trusted until what they have issued is replaced.
// Source: https://developer.hashicorp.com/consul/api-docs/agent/connect#certificate-authority-ca-roots.
type Roots struct {
	ActiveRootID string
	// TrustDomain is the host of every identity, a URI.
	TrustDomain string
	Roots       []Root
}

// Root is one authority.
type Root struct {
	ID       string
	RootCert string // PEM
	Active   bool
}

// mostOfMesh is how many bytes are read of a certificate, or of all roots: both have a few thousand.
const mostOfMesh = 1 << 20

// Leaf reads the certificate of a service, which the agent issues when it has none. The
// token needs service:write of that service. A blocking query returns when the agent has
// renewed it.
func (c *Client) Leaf(ctx context.Context, service string, q Query) (Leaf, Meta, error) {
	r := &request{kind: KindLeaf, op: fmt.Sprintf("get a certificate for service %q", service), path: "/v1/agent/connect/ca/leaf/" + url.PathEscape(service), params: url.Values{}, most: mostOfMesh}
	wait(r, q)
	var leaf Leaf
	var meta Meta
	err := c.do(ctx, r, func(header http.Header, body []byte) (err error) {
		if meta, err = readMeta(r, header, len(body)); err != nil {
			return err
		}
		err = c.decode(r, body, &leaf)
		if e := (*Error)(nil); errors.As(err, &e) {
			e.Body = "" // it may have the key
		}
		if err == nil && (leaf.CertPEM == "" || leaf.PrivateKeyPEM == "") {
			return insane(r, "it has no certificate, or no key")
		}
		return err
	})
	if err != nil {
		return Leaf{}, Meta{}, meshAdvice(err, fmt.Sprintf("give the token service %q { policy = \"write\" }", service))
	}
	return leaf, meta, nil
}

// Roots reads the authorities of the mesh.
func (c *Client) Roots(ctx context.Context, q Query) (Roots, Meta, error) {
	r := &request{kind: KindRoots, op: "read the roots of the mesh", path: "/v1/agent/connect/ca/roots", params: url.Values{}, most: mostOfMesh}
	wait(r, q)
	var roots Roots
	var meta Meta
	err := c.do(ctx, r, func(header http.Header, body []byte) (err error) {
		if meta, err = readMeta(r, header, len(body)); err != nil {
			return err
		}
		if err = c.decode(r, body, &roots); err == nil && (roots.TrustDomain == "" || len(roots.Roots) == 0) {
			return insane(r, "it has no root, or no trust domain")
		}
		return err
	})
	if err != nil {
		return Roots{}, Meta{}, meshAdvice(err, "")
	}
	return roots, meta, nil
}

// Intended reports whether Consul's intentions let source connect to destination. The token
// needs service:read of the destination, which reading its instances needs as well.
// Intentions that look at requests count as a denial.
// Source: https://developer.hashicorp.com/consul/api-docs/connect/intentions#check-intention-result.
func (c *Client) Intended(ctx context.Context, source, destination string) (bool, error) {
	r := &request{kind: KindIntention, op: fmt.Sprintf("ask whether %q may connect to %q", source, destination), path: "/v1/connect/intentions/check",
		params: url.Values{"source": {source}, "destination": {destination}}, most: mostOfMesh}
	c.datacenter(r)
	var answer struct{ Allowed *bool }
	err := c.do(ctx, r, func(_ http.Header, body []byte) error {
		if err := c.decode(r, body, &answer); err != nil {
			return err
		}
		if answer.Allowed == nil {
			return insane(r, "it does not say whether")
		}
		return nil
	})
	if err != nil {
		return false, meshAdvice(err, "")
	}
	return *answer.Allowed, nil
}

// wait sets the parameters of a Query about the agent itself, which has no datacenter.
func wait(r *request, q Query) {
	if q.Index > 0 {
		r.block(q)
	}
}

// meshAdvice says what to do about an error of a request about the mesh.
func meshAdvice(err error, forbidden string) error {
	e := (*Error)(nil)
	switch {
	case !errors.As(err, &e):
	case e.Kind == ErrForbidden && forbidden != "":
		e.Advice = forbidden
	case e.Kind == ErrUnavailable && e.Status == http.StatusInternalServerError && strings.Contains(e.Body, "Connect must be enabled"):
		e.Advice = "the servers have no mesh: set connect { enabled = true } in their configuration"
	}
	return err
}

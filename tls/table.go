// Package tls answers: which certificate answers this name?
//
// Certificates of all sources are copied into one immutable Table behind an
// atomic pointer, so that a handshake never waits for a file, a lock or a
// store.
package tls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Certificate is a certificate with its key, and where it comes from.
type Certificate struct {
	tls.Certificate
	// Names are the DNS names it covers, lower-case, sorted.
	Names []string
	// Source names the place from which it was read, for people.
	Source string
	// Given says that an operator gave it: it takes precedence over obtained
	// certificates, until it has expired.
	Given bool
}

// NewCertificate checks a key pair in PEM and returns the certificate. An expired one
// is accepted: the table decides whether to serve it.
func NewCertificate(source string, certPEM, keyPEM []byte) (*Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", source, err)
	}
	c := &Certificate{Certificate: pair, Source: source}
	for _, name := range pair.Leaf.DNSNames {
		c.Names = append(c.Names, strings.ToLower(name))
	}
	for _, ip := range pair.Leaf.IPAddresses {
		c.Names = append(c.Names, ip.String())
	}
	slices.Sort(c.Names)
	c.Names = slices.Compact(c.Names)
	if len(c.Names) == 0 {
		return nil, fmt.Errorf("read certificate %s: it covers no DNS name; want one with a subjectAltName", source)
	}
	return c, nil
}

// Table is all certificates at one moment. Immutable.
type Table struct {
	byName   map[string]*Certificate // exact names, and "*.example.org"
	fallback *Certificate
	all      []*Certificate
}

// NewTable makes a table. Of two certificates for one name, a given one takes
// precedence over an obtained one, otherwise the one that is valid longer. Fallback
// answers names that none covers; nil refuses them.
func NewTable(all []*Certificate, fallback *Certificate) *Table {
	t := &Table{byName: make(map[string]*Certificate, len(all)), fallback: fallback, all: all}
	now := time.Now()
	for _, c := range all {
		for _, name := range c.Names {
			if old := t.byName[name]; old == nil || c.before(old, now) {
				t.byName[name] = c
			}
		}
	}
	return t
}

func (c *Certificate) before(other *Certificate, now time.Time) bool {
	if mine, others := c.Given && now.Before(c.Leaf.NotAfter), other.Given && now.Before(other.Leaf.NotAfter); mine != others {
		return mine
	}
	return c.Leaf.NotAfter.After(other.Leaf.NotAfter)
}

// Lookup returns the certificate for a server name: exact, then the wildcard
// of its parent, then the fallback; nil when there is none.
func (t *Table) Lookup(name string) *Certificate {
	if c := t.covering(normal(name)); c != nil {
		return c
	}
	return t.fallback
}

func normal(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// covering returns the certificate for a name, nil when there is none.
func (t *Table) covering(name string) *Certificate {
	if c := t.byName[name]; c != nil {
		return c
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		return t.byName["*"+name[i:]]
	}
	return nil
}

// Covers reports whether c is valid for a name.
func (c *Certificate) Covers(name string) bool { return c.Leaf.VerifyHostname(name) == nil }

// Status describes one certificate.
type Status struct {
	Names     []string  `json:"names"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Source    string    `json:"source"`
}

// Status describes all certificates, sorted by name.
func (t *Table) Status() []Status {
	all := make([]Status, 0, len(t.all))
	for _, c := range t.all {
		all = append(all, Status{c.Names, issuer(c.Leaf), c.Leaf.NotBefore, c.Leaf.NotAfter, c.Source})
	}
	slices.SortFunc(all, func(a, b Status) int { return slices.Compare(a.Names, b.Names) })
	return all
}

func issuer(c *x509.Certificate) string { return c.Issuer.String() }

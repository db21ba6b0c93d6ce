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
	pair, err := keyPair(certPEM, keyPEM)
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
	// until is the last moment at which this table is right: then a certificate begins to
	// be valid, or expires, and another may have to answer. Zero for no end.
	until time.Time
}

// NewTable makes a table. Of the certificates for a name, those that are valid now take
// precedence over those that are not yet, and these over expired ones; of the valid ones,
// given ones take precedence over obtained ones. Otherwise the exact name takes precedence
// over a wildcard, and then the certificate that is valid longer. Fallback answers names
// that none covers; nil refuses them.
func NewTable(all []*Certificate, fallback *Certificate) *Table {
	t := &Table{byName: make(map[string]*Certificate, len(all)), fallback: fallback, all: all}
	now := time.Now()
	for _, c := range all {
		for _, name := range c.Names {
			if old := t.byName[name]; old == nil || c.precedes(old, now) {
				t.byName[name] = c
			}
		}
		for _, at := range []time.Time{c.Leaf.NotBefore, c.Leaf.NotAfter} {
			if !at.Before(now) && (t.until.IsZero() || at.Before(t.until)) {
				t.until = at
			}
		}
	}
	for name, c := range t.byName {
		if wild := t.byName[wildcard(name)]; wild != nil && wild.rank(now) < c.rank(now) {
			t.byName[name] = wild
		}
	}
	return t
}

// rank is how well a certificate serves a name that it covers; a lower one serves better.
// One that is not yet valid is better than none: the clock may be wrong.
func (c *Certificate) rank(now time.Time) int {
	switch valid := !now.Before(c.Leaf.NotBefore); {
	case now.After(c.Leaf.NotAfter):
		return 4
	case valid && c.Given:
		return 0
	case valid:
		return 1
	case c.Given:
		return 2
	}
	return 3
}

// precedes reports whether c answers a name that other covers as well.
func (c *Certificate) precedes(other *Certificate, now time.Time) bool {
	if mine, others := c.rank(now), other.rank(now); mine != others {
		return mine < others
	}
	return c.Leaf.NotAfter.After(other.Leaf.NotAfter)
}

// Lookup returns the certificate for a server name: the one of the exact name, unless the
// wildcard of its parent has a better one, then the fallback; nil when there is none.
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
	if wild := wildcard(name); wild != "" {
		return t.byName[wild]
	}
	return nil
}

// wildcard returns the wildcard that covers a name, empty for none.
func wildcard(name string) string {
	if i := strings.IndexByte(name, '.'); i > 0 {
		return "*" + name[i:]
	}
	return ""
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
	// Unused says that it answers no name, because others take precedence for all of its
	// names: that it expires does no harm.
	Unused bool `json:"unused,omitempty"`
}

// Status describes all certificates, sorted by name.
func (t *Table) Status() []Status {
	used := map[*Certificate]bool{t.fallback: true}
	for _, c := range t.byName {
		used[c] = true
	}
	all := make([]Status, 0, len(t.all))
	for _, c := range t.all {
		all = append(all, Status{c.Names, issuer(c.Leaf), c.Leaf.NotBefore, c.Leaf.NotAfter, c.Source, !used[c]})
	}
	slices.SortFunc(all, func(a, b Status) int { return slices.Compare(a.Names, b.Names) })
	return all
}

func issuer(c *x509.Certificate) string { return c.Issuer.String() }

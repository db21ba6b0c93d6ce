// Package tls answers: which certificate answers this name?
//
// Certificates of all sources are copied into one immutable Table behind an
// atomic pointer, so that a handshake never waits for a file, a lock or a
// store.
package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Certificate is a certificate with its key, and where it comes from.
type Certificate struct {
	tls.Certificate
	// Names are the DNS names it covers, lower-case, sorted.
	Names []string
	// Source names where it was read, for people.
	Source string
}

// NewCertificate checks a key pair in PEM and returns the certificate. An
// expired one is accepted: whether to serve it is for the table to decide.
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

// NewTable makes a table. Of two certificates for one name, the one that is
// valid longer answers. Fallback answers names that none covers; nil refuses
// them.
func NewTable(all []*Certificate, fallback *Certificate) *Table {
	t := &Table{byName: make(map[string]*Certificate), fallback: fallback, all: all}
	for _, c := range all {
		for _, name := range c.Names {
			if old := t.byName[name]; old == nil || c.Leaf.NotAfter.After(old.Leaf.NotAfter) {
				t.byName[name] = c
			}
		}
	}
	return t
}

// Lookup returns the certificate for a server name: exact, then the wildcard
// of its parent, then the fallback; nil when there is none.
func (t *Table) Lookup(name string) *Certificate {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if c := t.byName[name]; c != nil {
		return c
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		if c := t.byName["*"+name[i:]]; c != nil {
			return c
		}
	}
	return t.fallback
}

// Covers reports whether c is a certificate for a name.
func (c *Certificate) Covers(name string) bool { return c.Leaf.VerifyHostname(name) == nil }

// Status is what is known of one certificate.
type Status struct {
	Names     []string  `json:"names"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Source    string    `json:"source"`
}

// Status returns what is known of all certificates, sorted by name.
func (t *Table) Status() []Status {
	all := make([]Status, 0, len(t.all))
	for _, c := range t.all {
		all = append(all, Status{c.Names, issuer(c.Leaf), c.Leaf.NotBefore, c.Leaf.NotAfter, c.Source})
	}
	slices.SortFunc(all, func(a, b Status) int { return slices.Compare(a.Names, b.Names) })
	return all
}

func issuer(c *x509.Certificate) string { return c.Issuer.String() }

// Store holds the current Table. All methods may be called at the same time.
type Store struct {
	current atomic.Pointer[Table]
	unknown atomic.Uint64
}

// NewStore returns a Store with an empty table.
func NewStore() *Store {
	s := &Store{}
	s.current.Store(NewTable(nil, nil))
	return s
}

// Publish makes t the current table.
func (s *Store) Publish(t *Table) { s.current.Store(t) }

// Current returns the current table.
func (s *Store) Current() *Table { return s.current.Load() }

// UnknownNames returns how many handshakes asked for a name without a
// certificate.
func (s *Store) UnknownNames() uint64 { return s.unknown.Load() }

// ErrUnknownName ends a handshake for a name without a certificate.
var ErrUnknownName = errors.New("no certificate covers this server name")

// Config returns the TLS settings of a listener: TLS 1.2 and 1.3 with the
// cipher suites and curves that Go holds to be secure, which Mozilla's
// intermediate profile contains, and certificates from the current table.
// Protocols are offered by ALPN in that order.
func (s *Store) Config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Mozilla intermediate: forward secrecy and AEAD only.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: protocols,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := s.Current().Lookup(hello.ServerName); c != nil {
				return &c.Certificate, nil
			}
			s.unknown.Add(1)
			return nil, ErrUnknownName
		},
	}
}

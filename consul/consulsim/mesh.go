package consulsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"
)

// TrustDomain is the host of all identities.
const TrustDomain = nodeID + ".consul"

// LeafTime is how long a certificate of a service is valid, as by default in Consul.
const LeafTime = 72 * time.Hour

// mesh is what Consul's mesh consists of: authorities, certificates and intentions. Guarded
// by Sim.mu.
type mesh struct {
	serial     int64
	roots      []*authority // the active one is the last
	changed    uint64       // index of the last change of the roots
	leafs      map[string]*leaf
	intentions map[intention]bool // whether it is allowed
	leafTime   time.Duration
}

// intention names both sides, or any by "*".
type intention struct{ source, destination string }

// authority is one root with its key.
type authority struct {
	certificate   *x509.Certificate
	key           *ecdsa.PrivateKey
	crossSigned   string // by the one before, PEM
	created, last uint64
}

// leaf is the certificate of a service.
type leaf struct {
	certificate *x509.Certificate
	pem, key    string
	index       uint64
}

func (m *mesh) init(index uint64) {
	*m = mesh{leafs: map[string]*leaf{}, intentions: map[intention]bool{}, leafTime: LeafTime}
	m.rotate(index)
}

// rotate makes a new root, which the last one vouches for.
func (m *mesh) rotate(index uint64) {
	m.serial++
	next := &authority{key: newKey(), created: index, last: index}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(m.serial), Subject: pkix.Name{CommonName: fmt.Sprintf("pri-%08x.consul.ca.%s", m.serial, TrustDomain[:8])},
		URIs: []*url.URL{{Scheme: "spiffe", Host: TrustDomain}}, BasicConstraintsValid: true, IsCA: true,
		KeyUsage:  x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(10, 0, 0), SubjectKeyId: keyID(&next.key.PublicKey),
	}
	next.certificate = signed(template, template, &next.key.PublicKey, next.key)
	if n := len(m.roots); n > 0 {
		was := m.roots[n-1]
		was.last = index
		template.SerialNumber = big.NewInt(1000 + m.serial)
		template.AuthorityKeyId = was.certificate.SubjectKeyId
		next.crossSigned = encodePEM("CERTIFICATE", signed(template, was.certificate, &next.key.PublicKey, was.key).Raw)
	}
	m.roots, m.changed = append(m.roots, next), index
}

// issue makes a new certificate for a service.
func (m *mesh) issue(service string, index uint64) *leaf {
	m.serial++
	root, key := m.roots[len(m.roots)-1], newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(m.serial), Subject: pkix.Name{CommonName: service + ".svc.default." + TrustDomain[:8] + ".consul"},
		URIs:      []*url.URL{{Scheme: "spiffe", Host: TrustDomain, Path: "/ns/default/dc/" + Datacenter + "/svc/" + service}},
		KeyUsage:  x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageKeyAgreement,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(m.leafTime), BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	c := signed(template, root.certificate, &key.PublicKey, root.key)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		panic(err) // of a key that was just made
	}
	l := &leaf{certificate: c, pem: encodePEM("CERTIFICATE", c.Raw) + root.crossSigned, key: encodePEM("EC PRIVATE KEY", der), index: index}
	m.leafs[service] = l
	return l
}

// RotateRoots makes a new root the active one, and has all certificates issued anew. The old
// ones are trusted further.
func (s *Sim) RotateRoots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mesh.rotate(s.next())
	for service := range s.mesh.leafs {
		s.mesh.issue(service, s.next())
	}
	s.wake()
}

// ForgetRoots has only the active root trusted.
func (s *Sim) ForgetRoots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mesh.roots = s.mesh.roots[len(s.mesh.roots)-1:]
	s.mesh.changed = s.next()
	s.wake()
}

// RenewLeaf has the certificate of a service issued anew, to be valid for that long; 0 means
// LeafTime.
func (s *Sim) RenewLeaf(service string, valid time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mesh.leafTime = LeafTime; valid > 0 {
		s.mesh.leafTime = valid
	}
	s.mesh.issue(service, s.next())
	s.wake()
}

// Intend allows or denies connections from source to destination; "*" is any.
func (s *Sim) Intend(source, destination string, allowed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mesh.intentions[intention{source, destination}] = allowed
}

// Certificate is the certificate of a service, which is issued if it has none.
func (s *Sim) Certificate(service string) tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leafOf(service)
	c, err := tls.X509KeyPair([]byte(l.pem), []byte(l.key))
	if err != nil {
		panic(err) // of a pair that was just made
	}
	return c
}

// leafOf is the certificate of a service. s.mu must be held.
func (s *Sim) leafOf(service string) *leaf {
	if l := s.mesh.leafs[service]; l != nil {
		return l
	}
	return s.mesh.issue(service, s.next())
}

// Roots are the trusted ones.
func (s *Sim) Roots() *x509.CertPool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pool := x509.NewCertPool()
	for _, r := range s.mesh.roots {
		pool.AddCert(r.certificate)
	}
	return pool
}

// Allows reports whether source may connect to destination: the intention that names more
// decides, first of the destination; without one the default policy.
func (s *Sim) Allows(source, destination string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range []intention{{source, destination}, {"*", destination}, {source, "*"}, {"*", "*"}} {
		if allowed, ok := s.mesh.intentions[i]; ok {
			return allowed
		}
	}
	return !s.options.ACL
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // without random numbers nothing works
	}
	return key
}

func signed(template, by *x509.Certificate, of *ecdsa.PublicKey, with *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, by, of, with)
	if err != nil {
		panic(fmt.Sprintf("sign a certificate: %v", err))
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(fmt.Sprintf("read a certificate that was just made: %v", err))
	}
	return c
}

func keyID(key *ecdsa.PublicKey) []byte {
	b, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // of a key that was just made
	}
	sum := sha1.Sum(b)
	return sum[:]
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// hexOf writes bytes as Consul writes them.
func hexOf(b []byte) string {
	return strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf("% x", b)), " ", ":")
}

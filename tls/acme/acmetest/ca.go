// Package acmetest is a CA for tests: Pebble, in this process, with real validation and
// rejected nonces, and with faults on request.
package acmetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"serai/internal/testnet"
)

// Options are the options of a CA.
type Options struct {
	// Life is the lifetime of certificates; 90 days when zero.
	Life time.Duration
	// Offer is the only kind of validation that is offered: "http-01", "tls-alpn-01",
	// or all when empty.
	Offer string
	// HTTP and TLS are the addresses where validations arrive; free ones when
	// empty.
	HTTP, TLS string
	// Elsewhere reports whether a name resolves to 127.0.0.9, where nothing listens
	// unless the test does, and not to 127.0.0.1; nil for none.
	Elsewhere func(name string) bool
	// Nodes are the IPv4 addresses to which names resolve, the next one for each query,
	// as behind a balancer; 127.0.0.1 when empty.
	Nodes []string
	// Listen is the IP address of the CA itself; 127.0.0.1 when empty.
	Listen string
	// KeyID and MACKey (base64url) are an external account to which accounts must be
	// bound; empty for none.
	KeyID, MACKey string
}

// setUp tells Pebble not to delay, to reject every fifth nonce, and to validate every
// order.
var setUp = sync.OnceFunc(func() {
	os.Setenv("PEBBLE_VA_NOSLEEP", "1")
	os.Setenv("PEBBLE_WFE_NONCEREJECT", "20")
	os.Setenv("PEBBLE_AUTHZREUSE", "0")
})

// CA is a running CA.
type CA struct {
	// Directory is its URL, and RootFile has the root of that server's certificate.
	Directory, RootFile string
	// HTTP and TLS are where validations arrive: the test listens there.
	HTTP, TLS string

	server  *httptest.Server
	db      *db.MemoryStore
	options Options
	pebble  http.Handler
	manage  http.Handler

	mu     sync.Mutex
	orders map[string]int
	// replacing counts the orders that name the replaced certificate (RFC 9773).
	replacing int
	failed    map[string]bool // authorizations, by path
	fault     http.HandlerFunc
}

// New starts a CA that ends with the test.
func New(t testing.TB, o Options) *CA {
	t.Helper()
	setUp()
	c := &CA{options: o, orders: make(map[string]int), failed: make(map[string]bool), HTTP: o.HTTP, TLS: o.TLS}
	if c.HTTP == "" {
		c.HTTP = testnet.Address(t)
	}
	if c.TLS == "" {
		c.TLS = testnet.Address(t)
	}
	silent := log.New(io.Discard, "", 0)
	if o.Life == 0 {
		o.Life = 90 * 24 * time.Hour
	}
	c.db = db.NewMemoryStore()
	authority := ca.New(silent, c.db, "", "ecdsa", 0, 1, map[string]ca.Profile{
		"default": {Description: "default", ValidityPeriod: uint64(o.Life.Seconds())},
	})
	validation := va.New(silent, portOf(c.HTTP), portOf(c.TLS), false, resolver(t, &o), c.db)
	if o.KeyID != "" {
		if err := c.db.AddExternalAccountKeyByID(o.KeyID, o.MACKey); err != nil {
			t.Fatal(err)
		}
	}
	front := wfe.New(silent, c.db, validation, authority, []string{"ca.test"}, false, o.KeyID != "", 1, 1)
	c.pebble, c.manage = front.Handler(), front.ManagementHandler()
	c.server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	c.server.Config.ErrorLog = silent
	if o.Listen != "" {
		c.listenAt(t, o.Listen)
	}
	c.server.StartTLS()
	t.Cleanup(c.server.Close)
	c.Directory = c.server.URL + "/dir"
	c.RootFile = filepath.Join(t.TempDir(), "ca.pem")
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.server.Certificate().Raw})
	if err := os.WriteFile(c.RootFile, root, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// Roots verifies the certificates that the CA issues.
func (c *CA) Roots() *x509.CertPool {
	answer := httptest.NewRecorder()
	c.manage.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, wfe.RootCertPath+"0", nil))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(answer.Body.Bytes())
	return pool
}

// Failed returns how many authorizations became invalid: a CA allows few of them
// (https://letsencrypt.org/docs/rate-limits/).
func (c *CA) Failed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.failed)
}

// noteFailure counts an authorization that the CA reports as invalid.
func (c *CA) noteFailure(path string, body []byte) {
	var authorization struct{ Status string }
	if json.Unmarshal(body, &authorization) == nil && authorization.Status == "invalid" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed[path] = true
	}
}

// Suggest makes the CA suggest renewal at once for the first certificate that it is
// asked about (RFC 9773).
func (c *CA) Suggest() {
	var mu sync.Mutex
	first := ""
	c.Fail(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "renewalInfo") {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if first == "" {
			first = r.URL.Path
		}
		if r.URL.Path == first {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "21600")
			fmt.Fprintf(w, `{"suggestedWindow":{"start":%q,"end":%q}}`, time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
		}
	})
}

func (c *CA) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.mu.Lock()
	fault := c.fault
	c.mu.Unlock()
	if fault != nil {
		seen := &seen{ResponseWriter: w}
		if fault(seen, r); seen.written {
			return
		}
	}
	answer := httptest.NewRecorder()
	c.pebble.ServeHTTP(answer, r)
	content := answer.Body.Bytes()
	if strings.Contains(r.URL.Path, "/authZ/") {
		c.noteFailure(r.URL.Path, content)
	}
	switch {
	case answer.Code == http.StatusCreated && strings.Contains(r.URL.Path, "order-plz"):
		c.countOrder(body)
	case c.options.Offer != "" && strings.Contains(r.URL.Path, "/authZ/"):
		content = only(c.options.Offer, content)
	case strings.HasPrefix(r.URL.Path, "/certZ/"):
		c.alsoByASN1(strings.TrimPrefix(r.URL.Path, "/certZ/"))
	}
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	w.Write(content)
}

// alsoByASN1 lets the order of a certificate be found by its serial number as a new order
// names it (RFC 9773 section 4.1): in ASN.1 a first byte of 80 (hex) or more follows a zero,
// which Pebble leaves out of its index. One serial number in 256 begins so.
func (c *CA) alsoByASN1(serial string) {
	if serial < "8" {
		return
	}
	o, err := c.db.GetOrderByIssuedSerial(serial)
	if err != nil {
		return
	}
	o.RLock()
	defer o.RUnlock()
	issued := *o.CertificateObject
	issued.ID = "00" + serial
	c.db.AddOrderByIssuedSerial(&core.Order{Order: o.Order, ID: o.ID, AccountID: o.AccountID, Names: o.Names, CertificateObject: &issued})
}

// only leaves one kind of validation in an authorization.
func only(kind string, body []byte) []byte {
	var authorization map[string]any
	if json.Unmarshal(body, &authorization) != nil {
		return body
	}
	all, _ := authorization["challenges"].([]any)
	var kept []any
	for _, challenge := range all {
		if m, ok := challenge.(map[string]any); ok && m["type"] == kind {
			kept = append(kept, m)
		}
	}
	if all == nil {
		return body
	}
	authorization["challenges"] = kept
	body, _ = json.Marshal(authorization)
	return body
}

type seen struct {
	http.ResponseWriter
	written bool
}

func (s *seen) WriteHeader(status int) {
	s.written = true
	s.ResponseWriter.WriteHeader(status)
}

func (s *seen) Write(p []byte) (int, error) {
	s.written = true
	return s.ResponseWriter.Write(p)
}

// listenAt makes the CA listen on an address that is not in the certificate of
// httptest.
func (c *CA) listenAt(t testing.TB, ip string) {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	c.server.Listener.Close()
	c.server.Listener = l
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.ParseIP(ip)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// resolver resolves every name that is not elsewhere to 127.0.0.1, or to the nodes in
// turn.
func resolver(t testing.TB, o *Options) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Uint64
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
			at := net.IPv4(127, 0, 0, 1)
			if len(o.Nodes) > 0 {
				at = net.ParseIP(o.Nodes[asked.Add(1)%uint64(len(o.Nodes))])
			}
			if o.Elsewhere != nil && o.Elsewhere(strings.TrimSuffix(q.Question[0].Name, ".")) {
				at = net.IPv4(127, 0, 0, 9)
			}
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: at,
			})
		}
		w.WriteMsg(m)
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); server.ActivateAndServe() }()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

func portOf(address string) int {
	a, _ := net.ResolveTCPAddr("tcp", address)
	return a.Port
}

package consul

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// newCertificate makes one for consul.test that is its own authority.
func newCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{"consul.test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestRotatedAuthority: the authority that its file names now is trusted, and the last one while
// the file cannot be read.
func TestRotatedAuthority(t *testing.T) {
	old, next := newCertificate(t), newCertificate(t)
	var now atomic.Pointer[tls.Certificate]
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		io.WriteString(w, "{}")
	}))
	s.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now.Load(), nil }}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused handshakes
	s.StartTLS()
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	trust := func(c *tls.Certificate) {
		t.Helper()
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, named := range []TLS{{CACert: file}, {CAPath: filepath.Dir(file)}} {
		named.ServerName = "consul.test"
		now.Store(old)
		trust(old)
		c := newTestClient(t, Options{Address: s.URL, TLS: named})
		ask := func() error {
			c.CloseIdleConnections()
			_, err := c.EachService(t.Context(), Query{}, uncared)
			return err
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		now.Store(next)
		if err := ask(); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%+v: by an authority that is not trusted: %v", named, err)
		}
		trust(next)
		if err := ask(); err != nil {
			t.Errorf("%+v: after the authority was replaced: %v", named, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := ask(); err != nil {
			t.Errorf("%+v: while its file is missing: %v", named, err)
		}
	}
}

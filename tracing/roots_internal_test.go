package tracing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serai/internal/boundedhttp"
)

// TestRootsAreReadAgain: the file of the collector's roots counts as it is when a connection is
// made, whether a flag or the environment names it.
func TestRootsAreReadAgain(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "roots.pem")
	write := func(der []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (*x509.CertPool, error) { return boundedhttp.ReadRoots(file) }
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	other, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	for from, o := range map[string]*Options{
		"the environment": {URL: server.URL, Getenv: func(name string) string {
			return map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": file}[name]
		}},
		"a flag": {URL: server.URL, TLS: server.Client().Transport.(*http.Transport).TLSClientConfig.Clone(), Roots: read, Getenv: func(string) string { return "" }},
	} {
		write(other)
		o.Logger = slog.New(slog.DiscardHandler)
		_, c, err := o.client()
		if err != nil {
			t.Fatal(err)
		}
		ask := func() error {
			r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := c.RoundTrip(r)
			if err == nil {
				res.Body.Close()
			}
			return err
		}
		if err := ask(); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: with another's roots: %v", from, err)
		}
		write(server.Certificate().Raw)
		if err := ask(); err != nil {
			t.Errorf("%s: with the new roots: %v", from, err)
		}
		write(nil) // as while it is written
		c.bounded.CloseIdleConnections()
		if err := ask(); err != nil {
			t.Errorf("%s: while there are none: %v", from, err)
		}
		c.bounded.CloseIdleConnections()
	}
}

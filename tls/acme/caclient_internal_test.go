package acme

import (
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/tls/certstore"
)

// TestIssuerIsBounded: certmagic, too, does not read an answer of the CA without end, and takes
// the roots that are current when it connects.
func TestIssuerIsBounded(t *testing.T) {
	const much = 256 << 20
	var sent atomic.Int64
	endless := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := strings.Repeat(" ", 1<<20)
		for sent.Load() < much {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
			sent.Add(1 << 20)
		}
	}))
	endless.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer endless.Close()
	var known atomic.Pointer[x509.CertPool]
	stranger := x509.NewCertPool()
	stranger.AddCert(&x509.Certificate{Raw: []byte("another's"), RawSubject: []byte("another's")})
	known.Store(stranger)
	e, err := newEngine(&Options{
		Directory: endless.URL + "/dir", Store: (*certstore.Directory)(nil), Logger: slog.New(slog.DiscardHandler), OrderTimeout: time.Minute,
		HTTPAddress: "127.0.0.1:1", CARoots: func() (*x509.CertPool, error) { return known.Load(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if _, err := e.suggestion(t.Context(), endless.Certificate()); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("with roots that are not the CA's: %v", err)
	}
	right := x509.NewCertPool()
	right.AddCert(endless.Certificate())
	known.Store(right)
	if _, err := e.suggestion(t.Context(), endless.Certificate()); err == nil || !strings.Contains(err.Error(), "has more than") {
		t.Errorf("an answer without an end: %v", err)
	}
	if n := sent.Load(); n >= much/2 {
		t.Errorf("%d bytes were read", n)
	}
}

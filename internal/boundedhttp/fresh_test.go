package boundedhttp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestSlowHandshake: a handshake that does not end is given up, and its connection closed.
func TestSlowHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			b := make([]byte, 4096)
			for err == nil {
				_, err = c.Read(b)
			}
		}
		closed <- err
	}()
	tr := &http.Transport{DialContext: new(net.Dialer).DialContext, TLSClientConfig: &tls.Config{}, TLSHandshakeTimeout: 50 * time.Millisecond}
	if err := FreshRoots(tr, func() (*x509.CertPool, error) { return x509.NewCertPool(), nil }); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.RoundTrip(req); !errors.Is(err, errSlowHandshake) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want %v", err, errSlowHandshake)
	}
	<-closed
}

package acme

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"serai/tls"
)

// TestAutocertForgets: what is known of hosts that are gone does not stay for ever, but
// neither does a host that comes back at once lose its certificate, or its wait.
func TestAutocertForgets(t *testing.T) {
	now := time.Now()
	lasting := func(name string, left time.Duration) *tls.Certificate {
		c := &tls.Certificate{Names: []string{name}}
		c.Leaf = &x509.Certificate{NotAfter: now.Add(left)}
		return c
	}
	a := &Autocert{
		options: Options{Hosts: func() []Host { return []Host{{Name: "here.test"}} }, Wants: func(string) bool { return true }, Certificates: tls.NewStore()},
		certs:   map[string]*tls.Certificate{"here.test": lasting("here.test", -time.Hour), "gone.test": lasting("gone.test", -time.Hour), "away.test": lasting("away.test", time.Hour)},
		failed:  map[string]*Failure{"here.test": {Next: now.Add(-time.Hour)}, "gone.test": {Next: now.Add(-time.Hour)}, "away.test": {Next: now.Add(time.Hour)}},
	}
	a.forget(now)
	for host, want := range map[string]bool{"here.test": true, "gone.test": false, "away.test": true} {
		if got := a.certs[host] != nil; got != want {
			t.Errorf("the certificate of %s is kept: %v", host, got)
		}
		if got := a.failed[host] != nil; got != want {
			t.Errorf("the failure of %s is kept: %v", host, got)
		}
	}
	if got := len(a.options.Certificates.Current().Status()); got != 2 {
		t.Errorf("%d certificates are served, want 2", got)
	}
}

// TestCAClientIsBounded: a CA that answers without end is not read without end, and one that
// redirects to another server is followed.
func TestCAClientIsBounded(t *testing.T) {
	endless := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/short" {
			io.WriteString(w, "short")
			return
		}
		chunk := strings.Repeat(" ", 1<<20)
		for range 64 {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	moved := httptest.NewTLSServer(http.RedirectHandler(endless.URL+"/short", http.StatusFound))
	defer moved.Close()
	roots := x509.NewCertPool()
	roots.AddCert(endless.Certificate())
	client, err := newCAClient(func() (*x509.CertPool, error) { return roots, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for url, whole := range map[string]bool{endless.URL + "/long": false, moved.URL: true} {
		res, err := client.Get(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if (err == nil) != whole || n > maxAnswer {
			t.Errorf("%s: %d bytes are read, %v", url, n, err)
		}
	}
}

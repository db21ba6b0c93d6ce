package acme_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"serai/tls"
	"serai/tls/acme"
	"serai/tls/acme/acmetest"
	"serai/tls/certstore"
)

// TestUselessCertificateOfTheCA: a CA that issues what cannot be served, here another's
// certificate, is asked again after a wait like any other failure, and nothing is stored.
func TestUselessCertificateOfTheCA(t *testing.T) {
	const host = "a.example.org"
	store := newMemory()
	ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
	other := items(t, "other.example.org", time.Now(), time.Now().Add(time.Hour))["crt"]
	ca.Fail(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/certZ/") {
			w.Header().Set("Content-Type", "application/pem-certificate-chain")
			io.WriteString(w, other)
		}
	})
	o := orderAt(t, ca, store, acme.Limits{}, acme.Host{Name: host, Namespace: "default"})
	until(t, "a failure", func() bool { return o.told(host).Attempts > 0 })
	if told := o.told(host); !strings.Contains(told.Error, "the CA has issued a certificate that cannot be used") || told.Next == nil {
		t.Errorf("the host is told as %+v", told)
	}
	o.stop()
	entries, err := store.ListNewest(context.Background(), "tls")
	for _, e := range entries {
		if strings.HasPrefix(e.Path, "tls/certs/") {
			t.Errorf("%s is stored", e.Path)
		}
	}
	if err != nil || ca.Orders(host) != 1 {
		t.Errorf("%d orders, want 1; %v", ca.Orders(host), err)
	}
}

// TestExternalAccountKey: the MAC key works in each form in which CAs show it, and one that
// is in none is refused at the start.
func TestExternalAccountKey(t *testing.T) {
	const host, id = "a.example.org", "kid-1"
	mac := []byte("\xfb\xff\xbf a key of 32 bytes for the MAC")
	plain := base64.RawURLEncoding.EncodeToString(mac)
	for _, form := range []string{plain, base64.URLEncoding.EncodeToString(mac), base64.StdEncoding.EncodeToString(mac), base64.RawStdEncoding.EncodeToString(mac)} {
		t.Run(form, func(t *testing.T) {
			ca := acmetest.New(t, acmetest.Options{Offer: "http-01", KeyID: id, MACKey: plain})
			o := orderWith(t, ca, newMemory(), func(o *acme.Options) { o.KeyID, o.MACKey = id, form }, acme.Host{Name: host})
			until(t, "a certificate", func() bool { return o.has(host) })
		})
	}
	o := acme.Options{Store: (*certstore.Directory)(nil), Certificates: tls.NewStore(), KeyID: id, MACKey: "no*key"}
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "MAC key is not base64url") {
		t.Errorf("a key that is not base64 is answered with %v", err)
	}
}

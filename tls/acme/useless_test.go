package acme_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
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

// validity is when certificates of a CA are valid, seen from now.
type validity struct{ from, until time.Duration }

// certify has the CA answer each order with a certificate for its key that is valid then.
func certify(t *testing.T, ca *acmetest.CA, v validity) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Pointer[x509.CertificateRequest]
	ca.Fail(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/finalize-order/"):
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			var signed struct{ Payload string }
			var order struct{ CSR string }
			json.Unmarshal(body, &signed)
			payload, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
			json.Unmarshal(payload, &order)
			der, _ := base64.RawURLEncoding.DecodeString(order.CSR)
			if csr, err := x509.ParseCertificateRequest(der); err == nil {
				asked.Store(csr)
			}
		case strings.Contains(r.URL.Path, "/certZ/"):
			csr := asked.Load()
			template := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(v.from), NotAfter: time.Now().Add(v.until)}
			der, _ := x509.CreateCertificate(rand.Reader, template, template, csr.PublicKey, own)
			w.Header().Set("Content-Type", "application/pem-certificate-chain")
			pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		}
	})
}

// TestRenewalThatIsNotValidNow: a CA whose clock is wrong issues certificates that are
// expired, or not valid before tomorrow. None replaces one that is valid. One that is valid
// soon is waited for.
func TestRenewalThatIsNotValidNow(t *testing.T) {
	const host = "a.example.org"
	for _, c := range []struct {
		name  string
		valid validity
		taken bool
	}{
		{"expired", validity{-48 * time.Hour, -time.Hour}, false},
		{"not before tomorrow", validity{24 * time.Hour, 48 * time.Hour}, false},
		{"soon", validity{3 * time.Second, 48 * time.Hour}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			store := newMemory()
			ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
			o := orderAt(t, ca, store, acme.Limits{}, acme.Host{Name: host, Namespace: "default"})
			until(t, "a certificate", func() bool { return o.has(host) })
			// An order under way would answer the request for a renewal, too.
			until(t, "the end of its order", func() bool {
				b := o.Status(context.Background()).Budget
				return b != nil && len(b.Namespaces) > 0 && b.Namespaces[0].UnderWay == 0
			})
			before := o.certs.Current().Lookup(host)
			certify(t, ca, c.valid)
			err := acme.Renew(context.Background(), store, host, time.Minute, func(string) {})
			if c.taken != (err == nil) {
				t.Errorf("the renewal ended with %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "the clock of the CA, or of this node, may be wrong") {
				t.Errorf("the reason is %v", err)
			}
			changed := func() bool {
				return o.certs.Current().Lookup(host).Leaf.SerialNumber.Cmp(before.Leaf.SerialNumber) != 0
			}
			if c.taken {
				until(t, "the new certificate to be served", changed)
			} else if changed() {
				t.Error("another certificate is served")
			}
			after := o.certs.Current().Lookup(host)
			if now := time.Now(); now.Before(after.Leaf.NotBefore) || now.After(after.Leaf.NotAfter) {
				t.Errorf("what is served is valid from %v to %v", after.Leaf.NotBefore, after.Leaf.NotAfter)
			}
		})
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

package admin_test

import (
	"crypto/x509"
	"encoding/json"
	"testing"
	"time"

	"serai/admin"
	"serai/router"
	"serai/tls"
)

// TestFirstExpiry: what expires first is a certificate that somebody would miss.
func TestFirstExpiry(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	store := tls.NewStore()
	n := newNode(t, admin.Options{Certificates: store}, router.Options{})
	n.set("web", instance("ingress.host=web.example.org,*.wild.example.org"))
	lasting := func(source string, given bool, days int, names ...string) *tls.Certificate {
		c := &tls.Certificate{Names: names, Source: source, Given: given}
		c.Leaf = &x509.Certificate{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(0, 0, days)}
		return c
	}
	web, gone := lasting("acme:ca", false, 50, "web.example.org"), lasting("acme:ca", false, 2, "gone.example.org")
	for _, c := range []struct {
		name string
		all  []*tls.Certificate
		days int // 0 for none
	}{
		{"one", []*tls.Certificate{web}, 50},
		{"one of a host that is gone", []*tls.Certificate{web, gone}, 50},
		{"only that", []*tls.Certificate{gone}, 0},
		{"one that another took the names of", []*tls.Certificate{web, lasting("acme:old", false, -3, "web.example.org")}, 50},
		{"one of a host that a pattern has", []*tls.Certificate{web, lasting("acme:ca", false, 4, "a.wild.example.org")}, 4},
		{"the operator's own, for a host without a route", []*tls.Certificate{web, lasting("/certs/a.crt", true, 5, "other.example.org")}, 5},
	} {
		store.Set("test", c.all, nil)
		family := n.scrape()["serai_certificate_first_expiry_timestamp_seconds"]
		var status struct {
			Certificates struct {
				First *time.Time `json:"first_expiry"`
			} `json:"certificates"`
		}
		if code, body := n.get("/api/v1/status"); code != 200 || json.Unmarshal([]byte(body), &status) != nil {
			t.Fatalf("/api/v1/status answered %d", code)
		}
		if c.days == 0 {
			if family != nil || status.Certificates.First != nil {
				t.Errorf("%s: %v, %v", c.name, family, status.Certificates.First)
			}
			continue
		}
		want := now.AddDate(0, 0, c.days)
		if got := int64(family.GetMetric()[0].GetGauge().GetValue()); got != want.Unix() {
			t.Errorf("%s: the metric says %v, want %v", c.name, time.Unix(got, 0), want)
		}
		if got := status.Certificates.First; got == nil || !got.Equal(want) {
			t.Errorf("%s: the status says %v, want %v", c.name, got, want)
		}
	}
}

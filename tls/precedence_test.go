package tls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"serai/tls"
)

// lasting makes a certificate that is valid from one moment until another.
func lasting(t *testing.T, source string, given bool, from, until time.Time, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: source}, DNSNames: names, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.NewCertificate(source, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	if err != nil {
		t.Fatal(err)
	}
	c.Given = given
	return c
}

// TestPrecedence: what serves a name best answers it, whether it covers it by the name or by
// a wildcard, and in whichever order they were read.
func TestPrecedence(t *testing.T) {
	now := time.Now()
	ago, day := now.Add(-time.Hour), 24*time.Hour
	const name, wildcard = "a.example.org", "*.example.org"
	made := map[string]*tls.Certificate{
		"given":            lasting(t, "given", true, ago, now.Add(day), name),
		"longer":           lasting(t, "longer", true, ago, now.Add(2*day), name),
		"given wild":       lasting(t, "given wild", true, ago, now.Add(day), wildcard),
		"given early":      lasting(t, "given early", true, now.Add(day), now.Add(3*day), name),
		"given expired":    lasting(t, "given expired", true, now.Add(-2*day), now.Add(-day), name),
		"obtained":         lasting(t, "obtained", false, ago, now.Add(4*day), name),
		"obtained expired": lasting(t, "obtained expired", false, now.Add(-2*day), ago, name),
		"wild expired":     lasting(t, "wild expired", true, now.Add(-2*day), ago, wildcard),
	}
	for _, c := range []struct{ best, other string }{
		{"given", "given wild"}, {"given", "obtained"}, {"given", "given early"}, {"given", "given expired"}, {"longer", "given"},
		{"given wild", "obtained"}, {"given wild", "given early"}, {"given wild", "given expired"}, {"given wild", "obtained expired"},
		{"obtained", "given early"}, {"obtained", "given expired"}, {"obtained", "wild expired"},
		{"given early", "given expired"}, {"given early", "wild expired"},
		{"given expired", "wild expired"}, {"obtained expired", "given expired"}, {"obtained expired", "wild expired"},
	} {
		best, other := made[c.best], made[c.other]
		for _, all := range [][]*tls.Certificate{{best, other}, {other, best}} {
			if got := tls.NewTable(all, nil).Lookup(name); got != best {
				t.Errorf("of %s and %s, the one %s answers", c.best, c.other, got.Source)
			}
		}
	}
	// An obtained certificate does not hide that the operator's wildcard covers the name.
	s := tls.NewStore()
	s.Set("acme", []*tls.Certificate{made["obtained"]}, nil)
	s.Set("files", []*tls.Certificate{made["given wild"]}, nil)
	if !s.Given(name) {
		t.Error("a name that the operator's wildcard covers counts as not given")
	}
}

// TestTableFollowsTime: when a certificate expires, or begins to be valid, the one that is
// best then answers, although nothing was read.
func TestTableFollowsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		first := lasting(t, "first", true, now.Add(-time.Hour), now.Add(time.Hour), "a.test")
		second := lasting(t, "second", true, now.Add(30*time.Minute), now.Add(3*time.Hour), "a.test")
		third := lasting(t, "third", false, now.Add(-time.Hour), now.Add(5*time.Hour), "a.test")
		s := tls.NewStore()
		s.Set("files", []*tls.Certificate{first, second}, nil)
		s.Set("acme", []*tls.Certificate{third}, nil)
		for _, c := range []struct {
			after time.Duration
			want  *tls.Certificate
			given bool
		}{{0, first, true}, {31 * time.Minute, second, true}, {61 * time.Minute, second, true}, {4 * time.Hour, third, false}, {9 * time.Hour, third, false}} {
			time.Sleep(time.Until(now.Add(c.after)))
			if got := s.Current().Lookup("a.test"); got != c.want {
				t.Errorf("after %v the %s answers, want the %s", c.after, got.Source, c.want.Source)
			}
			if got := s.Given("a.test"); got != c.given {
				t.Errorf("after %v it is given: %v, want %v", c.after, got, c.given)
			}
		}
	})
}

// TestUnused: a certificate whose names others answer is shown as unused, and the fallback
// is not.
func TestUnused(t *testing.T) {
	now := time.Now()
	old := lasting(t, "old", true, now.Add(-2*time.Hour), now.Add(-time.Hour), "a.test", "b.test")
	fresh := lasting(t, "new", true, now.Add(-time.Hour), now.Add(time.Hour), "a.test", "b.test")
	half := lasting(t, "half", false, now.Add(-time.Hour), now.Add(time.Hour), "b.test", "c.test")
	last := lasting(t, "default", true, now.Add(-2*time.Hour), now.Add(-time.Hour), "a.test")
	for _, c := range tls.NewTable([]*tls.Certificate{old, fresh, half, last}, last).Status() {
		if want := c.Source == "old"; c.Unused != want {
			t.Errorf("%s is unused: %v, want %v", c.Source, c.Unused, want)
		}
	}
}

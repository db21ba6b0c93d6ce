package consulsim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/consul/consulsim"
)

// What tests ask of Consul's mesh.
const (
	meshRoots = "/v1/agent/connect/ca/roots"
	meshLeaf  = "/v1/agent/connect/ca/leaf/serai"
)

type leafAnswer struct {
	CertPEM, PrivateKeyPEM, Service, ServiceURI string
	ValidAfter, ValidBefore                     time.Time
}

type rootsAnswer struct {
	ActiveRootID, TrustDomain string
	Roots                     []struct {
		ID, RootCert string
		Active       bool
	}
}

func decoded[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); a.status != 200 || err != nil {
		t.Fatalf("%d %v: %s", a.status, err, a.body)
	}
	return v
}

// fieldsOf are the names of an answer's fields, and those of the elements of one of them.
func fieldsOf(t *testing.T, a answer, list string) string {
	t.Helper()
	all := decoded[map[string]any](t, a)
	names := slices.Sorted(maps.Keys(all))
	if elements, ok := all[list].([]any); ok && len(elements) > 0 {
		names = append(names, list+":")
		names = append(names, slices.Sorted(maps.Keys(elements[0].(map[string]any)))...)
	}
	return strings.Join(names, " ")
}

// verify reports whether the roots vouch for a certificate, which a key belongs to.
func (r rootsAnswer) verify(t *testing.T, l leafAnswer) error {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(l.CertPEM), []byte(l.PrivateKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, root := range r.Roots {
		o.Roots.AppendCertsFromPEM([]byte(root.RootCert))
	}
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		o.Intermediates.AddCert(c)
	}
	if len(pair.Leaf.URIs) != 1 || pair.Leaf.URIs[0].String() != l.ServiceURI {
		t.Errorf("the certificate has the URIs %v, the answer says %s", pair.Leaf.URIs, l.ServiceURI)
	}
	_, err = pair.Leaf.Verify(o)
	return err
}

// contractMesh is a certificate of a service with its roots, and what a new root does to both:
// queries that wait are answered, and old and new vouch for each other.
func contractMesh(t *testing.T, c cluster) {
	api := callerOf(t, c, c.management())
	rootsAt := api.eventually(t, meshRoots, "a root", func(a answer) bool { return a.status == 200 && strings.Contains(a.body, "BEGIN CERTIFICATE") })
	leafAt := api.get(t, meshLeaf)
	if got, want := fieldsOf(t, rootsAt, "Roots"), "ActiveRootID Roots TrustDomain Roots: Active CreateIndex ExternalTrustDomain ID IntermediateCerts ModifyIndex Name NotAfter NotBefore PrivateKeyBits PrivateKeyType RootCert SerialNumber SigningKeyID"; got != want {
		t.Errorf("roots have the fields\n%s, want\n%s", got, want)
	}
	if got, want := fieldsOf(t, leafAt, ""), "CertPEM CreateIndex ModifyIndex PrivateKeyPEM SerialNumber Service ServiceURI ValidAfter ValidBefore"; got != want {
		t.Errorf("a certificate has the fields\n%s, want\n%s", got, want)
	}
	roots, leaf := decoded[rootsAnswer](t, rootsAt), decoded[leafAnswer](t, leafAt)
	if want := "spiffe://" + roots.TrustDomain + "/ns/default/dc/dc1/svc/serai"; leaf.ServiceURI != want || leaf.Service != "serai" {
		t.Errorf("the certificate is of %s, %s, want %s", leaf.Service, leaf.ServiceURI, want)
	}
	if err := roots.verify(t, leaf); err != nil {
		t.Error(err)
	}
	if valid := leaf.ValidBefore.Sub(leaf.ValidAfter); valid < consulsim.LeafTime || valid > consulsim.LeafTime+time.Hour {
		t.Errorf("a certificate is valid for %v", valid)
	}
	if again := api.get(t, meshLeaf); again.body != leafAt.body || again.index(t) != leafAt.index(t) {
		t.Error("a certificate that is asked for again is another one")
	}
	newRoots, newLeaf := api.block(t, meshRoots, rootsAt.index(t), "2m"), api.block(t, meshLeaf, leafAt.index(t), "2m")
	c.rotate(t)
	rootsAt, leafAt = newRoots.woken(t), newLeaf.woken(t)
	next, renewed := decoded[rootsAnswer](t, rootsAt), decoded[leafAnswer](t, leafAt)
	if len(next.Roots) != 2 || next.ActiveRootID == roots.ActiveRootID || next.TrustDomain != roots.TrustDomain {
		t.Errorf("after a rotation: %+v, before %+v", next, roots)
	}
	for name, pair := range map[string]struct {
		rootsAnswer
		leafAnswer
	}{"old root, new certificate": {roots, renewed}, "new root, old certificate": {next, leaf}, "new root, new certificate": {next, renewed}} {
		if err := pair.verify(t, pair.leafAnswer); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if renewed.CertPEM == leaf.CertPEM || renewed.ServiceURI != leaf.ServiceURI {
		t.Error("the certificate was not renewed")
	}
}

// contractIntentions is what the check of intentions says.
func contractIntentions(t *testing.T, c cluster) {
	api := callerOf(t, c, c.management())
	allowed := func(want bool) {
		t.Helper()
		api.eventually(t, "/v1/connect/intentions/check?source=serai&destination=web", fmt.Sprint("a check that says ", want),
			func(a answer) bool { return a.status == 200 && a.body == fmt.Sprintf(`{"Allowed":%v}`, want) })
	}
	allowed(true)
	api.put(t, "/v1/connect/intentions/exact?source=serai&destination=web", `{"Action": "deny"}`)
	allowed(false)
	api.put(t, "/v1/connect/intentions/exact?source=serai&destination=web", `{"Action": "allow"}`)
	allowed(true)
	api.put(t, "/v1/connect/intentions/exact?source=*&destination=web", `{"Action": "deny"}`)
	allowed(true)
	api.must(t, "DELETE", "/v1/connect/intentions/exact?source=serai&destination=web", "")
	allowed(false)
	if a := api.do(t, "GET", "/v1/connect/intentions/check?source=serai", ""); a.status != 500 || a.body != "required query parameter 'destination' not set" {
		t.Errorf("a check without a destination: %d %s", a.status, a.body)
	}
}

// contractMeshRights: a certificate takes service:write, the roots nothing.
func contractMeshRights(t *testing.T, c cluster) {
	reader := tokens["reader"]
	c.putToken(t, reader)
	api := callerOf(t, c, reader.Secret)
	if a := api.do(t, "GET", meshLeaf, ""); a.status != 403 || !strings.Contains(a.body, "lacks permission 'service:write' on \"serai\"") {
		t.Errorf("a certificate without the right: %d %s", a.status, a.body)
	}
	api.eventually(t, meshRoots, "roots", func(a answer) bool { return a.status == 200 })
	writer := reader
	writer.Rules = append(slices.Clone(writer.Rules), consulsim.Rule{Resource: "service", Name: "serai", Policy: "write"})
	c.putToken(t, writer)
	api.eventually(t, meshLeaf, "a certificate", func(a answer) bool { return a.status == 200 })
}

func (c *simCluster) rotate(*testing.T) { c.sim.RotateRoots() }

// rotate gives the servers another key for their authority.
func (c *realCluster) rotate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	body, err := json.Marshal(map[string]any{"Provider": "consul", "Config": map[string]any{"PrivateKey": text, "LeafCertTTL": "72h"}})
	if err != nil {
		t.Fatal(err)
	}
	callerOf(t, c, c.root).put(t, "/v1/connect/ca/configuration", string(body))
}

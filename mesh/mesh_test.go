package mesh_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/consul"
	"serai/mesh"
	"serai/upstream"
)

const long = time.Minute

// authority signs whatever a test wants.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.certificate, a.key = a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	})
	return a
}

func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	by, with := a.certificate, a.key
	if by == nil {
		by, with = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, with)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

// of is a certificate with these URIs.
func (a *authority) of(change func(*x509.Certificate), uris ...string) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = append(template.URIs, parsed)
	}
	if change != nil {
		change(template)
	}
	c, key := a.sign(template)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}

func encoded(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// agent answers what a test wants.
type agent struct {
	mu          sync.Mutex
	leaf, roots any
	index       int
	changed     chan struct{}
	asked       int
}

func (a *agent) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	a.index++
	if a.changed != nil {
		close(a.changed)
	}
	a.changed = make(chan struct{})
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for {
		a.mu.Lock()
		a.asked++
		answer, index, changed := a.roots, a.index, a.changed
		if strings.Contains(r.URL.Path, "/leaf/") {
			answer = a.leaf
		}
		a.mu.Unlock()
		if r.URL.Query().Get("index") == fmt.Sprint(index) {
			select {
			case <-changed:
				continue
			case <-r.Context().Done():
				return
			}
		}
		w.Header().Set("X-Consul-Index", fmt.Sprint(index))
		json.NewEncoder(w).Encode(answer)
		return
	}
}

func leafOf(t *testing.T, c tls.Certificate) any {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(c.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	return map[string]string{"CertPEM": encoded(c.Leaf), "PrivateKeyPEM": key, "Service": "serai"}
}

func rootsOf(domain string, all ...*authority) any {
	var roots []map[string]any
	for i, a := range all {
		roots = append(roots, map[string]any{"ID": fmt.Sprint(i), "RootCert": encoded(a.certificate)})
	}
	return map[string]any{"TrustDomain": domain, "Roots": roots}
}

const domain = "11111111-2222-3333-4444-555555555555.consul"

func id(service string) string { return "spiffe://" + domain + "/ns/default/dc/dc1/svc/" + service }

// newMesh runs a Mesh with an agent until the test ends.
func newMesh(t *testing.T, a http.Handler) *mesh.Mesh {
	t.Helper()
	server := httptest.NewServer(a)
	client, err := consul.NewClient(consul.Options{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mesh.New(mesh.Options{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
		client.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return m
}

var web = upstream.Peer{Service: "web", Datacenter: "dc1"}

func config(t *testing.T, m *mesh.Mesh) *tls.Config {
	t.Helper()
	var err error
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var c *tls.Config
		if c, err = m.Config(web); err == nil {
			return c
		}
		if !errors.Is(err, upstream.ErrNoIdentity) {
			t.Fatal(err)
		}
	}
	t.Fatal(err)
	return nil
}

// TestOnlyThePeerIsBelieved: of all certificates, only one that a root vouches for, and whose
// one URI is exactly the expected one, ends a handshake well.
func TestOnlyThePeerIsBelieved(t *testing.T) {
	ours, foreign := newAuthority(t), newAuthority(t)
	a := &agent{leaf: leafOf(t, ours.of(nil, id("serai"))), roots: rootsOf(domain, ours)}
	a.set(func() {})
	m := newMesh(t, a)
	for name, c := range map[string]struct {
		shown tls.Certificate
		well  bool
	}{
		"the peer":                     {ours.of(nil, id("web")), true},
		"the domain in capitals":       {ours.of(nil, strings.Replace(id("web"), "consul", "CONSUL", 1)), true},
		"another service":              {ours.of(nil, id("webs")), false},
		"a service in capitals":        {ours.of(nil, id("Web")), false},
		"another datacenter":           {ours.of(nil, strings.Replace(id("web"), "/dc1/", "/dc2/", 1)), false},
		"another namespace":            {ours.of(nil, strings.Replace(id("web"), "/default/", "/other/", 1)), false},
		"a partition":                  {ours.of(nil, strings.Replace(id("web"), "/ns/", "/ap/x/ns/", 1)), false},
		"another trust domain":         {ours.of(nil, strings.Replace(id("web"), "1111", "2222", 1)), false},
		"a port":                       {ours.of(nil, strings.Replace(id("web"), ".consul/", ".consul:80/", 1)), false},
		"another scheme":               {ours.of(nil, strings.Replace(id("web"), "spiffe:", "https:", 1)), false},
		"a query":                      {ours.of(nil, id("web")+"?x"), false},
		"a fragment":                   {ours.of(nil, id("web")+"#x"), false},
		"a longer path":                {ours.of(nil, id("web")+"/"), false},
		"a slash in the name":          {ours.of(nil, id("x/svc/web")), false},
		"an escaped slash in the name": {ours.of(nil, id("x%2Fsvc%2Fweb")), false},
		"two URIs":                     {ours.of(nil, id("web"), id("other")), false},
		"no URI":                       {ours.of(func(c *x509.Certificate) { c.DNSNames = []string{"web"} }), false},
		"a foreign authority":          {foreign.of(nil, id("web")), false},
		"one of the past":              {ours.of(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, id("web")), false},
		"one for clients":              {ours.of(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, id("web")), false},
	} {
		err := shakeHands(t, config(t, m), c.shown)
		if (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shakeHands connects to a server with a certificate that demands one of the mesh.
func shakeHands(t *testing.T, client *tls.Config, shown tls.Certificate) error {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = nil
	server.TLS = &tls.Config{Certificates: []tls.Certificate{shown}, ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	c, err := tls.Dial("tcp", server.Listener.Addr().String(), client)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	_, err = c.Read(make([]byte, 1))
	return err
}

// TestNothingIsAskedBeforeItIsWanted: clusters without a mesh do not refuse serai all day.
func TestNothingIsAskedBeforeItIsWanted(t *testing.T) {
	a := &agent{}
	a.set(func() {})
	m := newMesh(t, a)
	if s := m.Status(); s.Wanted || len(s.Problems) > 0 {
		t.Errorf("%+v", s)
	}
	if a.mu.Lock(); a.asked > 0 {
		t.Errorf("%d requests", a.asked)
	}
	a.mu.Unlock()
	if _, err := m.Config(web); !errors.Is(err, upstream.ErrNoIdentity) {
		t.Error(err)
	}
}

// TestBadAnswersChangeNothing: a certificate or roots that cannot be used leave what is known,
// are told without what is secret in them, and the next good ones count.
func TestBadAnswersChangeNothing(t *testing.T) {
	ours, next := newAuthority(t), newAuthority(t)
	good, goodRoots := leafOf(t, ours.of(nil, id("serai"))), rootsOf(domain, ours)
	a := &agent{leaf: good, roots: goodRoots}
	a.set(func() {})
	m := newMesh(t, a)
	config(t, m)
	secret := good.(map[string]string)["PrivateKeyPEM"]
	for name, leaf := range map[string]any{
		"none": map[string]string{}, "of another key": map[string]string{"CertPEM": encoded(next.certificate), "PrivateKeyPEM": secret}, "no PEM": map[string]string{"CertPEM": "x", "PrivateKeyPEM": secret},
		"a list": []string{secret}, "of the past": leafOf(t, ours.of(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, id("serai"))), "of nobody": leafOf(t, ours.of(nil)),
	} {
		a.set(func() { a.leaf = leaf })
		told(t, m, "the certificate of Consul's mesh cannot be renewed since", name)
		if text := fmt.Sprint(m.Status().Problems); strings.Contains(text, strings.Split(secret, "\n")[1]) {
			t.Errorf("%s: %s", name, text)
		}
		config(t, m)
		a.set(func() { a.leaf = good })
		told(t, m, "", name)
	}
	for name, roots := range map[string]any{
		"none": map[string]any{}, "no domain": rootsOf("", next), "no certificates": map[string]any{"TrustDomain": domain, "Roots": []map[string]any{{"RootCert": "x"}}},
	} {
		a.set(func() { a.roots = roots })
		told(t, m, "the list of roots of Consul's mesh cannot be renewed since", name)
		if err := shakeHands(t, config(t, m), ours.of(nil, id("web"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a.set(func() { a.roots = goodRoots })
		told(t, m, "", name)
	}
	a.set(func() { a.roots = rootsOf(domain, next) })
	for end := time.Now().Add(long); m.Status().Rotations < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the next roots are not known")
		}
	}
	if err := shakeHands(t, config(t, m), ours.of(nil, id("web"))); err == nil {
		t.Error("a root that is not trusted any more counts")
	}
	if err := shakeHands(t, config(t, m), next.of(nil, id("web"))); err != nil {
		t.Error(err)
	}
}

// told waits until a problem is told that begins in that way; none when it is empty.
func told(t *testing.T, m *mesh.Mesh, begin, name string) {
	t.Helper()
	for end := time.Now().Add(long); ; time.Sleep(5 * time.Millisecond) {
		problems := m.Status().Problems
		if begin == "" && len(problems) == 0 || begin != "" && len(problems) > 0 && strings.HasPrefix(problems[0], begin) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: told is %q, want %q", name, problems, begin)
		}
	}
}

// TestTheEndIsTold: what is valid no more is not used, and what ends soon is told.
func TestTheEndIsTold(t *testing.T) {
	ours := newAuthority(t)
	a := &agent{roots: rootsOf(domain, ours), leaf: leafOf(t, ours.of(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(10*time.Second)
	}, id("serai")))}
	a.set(func() {})
	m := newMesh(t, a)
	if _, err := m.Config(web); !errors.Is(err, upstream.ErrNoIdentity) {
		t.Error(err)
	}
	told(t, m, "services in Consul's mesh are not reached: serai's certificate expired at", "the end")
	if _, err := m.Config(web); !errors.Is(err, upstream.ErrNoIdentity) {
		t.Errorf("with a certificate that has ended: %v", err)
	}
	a.set(func() {
		a.leaf = leafOf(t, ours.of(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(2*time.Minute)
		}, id("serai")))
	})
	told(t, m, "the certificate of Consul's mesh expires at", "the near end")
}

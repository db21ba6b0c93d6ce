package http1_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/upstream"
)

// signed returns a certificate for names and 127.0.0.1 that is its own
// authority, valid until then.
func signed(t *testing.T, until time.Time, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "instances"}, DNSNames: names,
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	for i, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			template.DNSNames = append(names[:i:i], names[i+1:]...)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// secureOrigin answers each request with the name that its connection was
// opened for, the Host and the connection's own address.
func secureOrigin(t *testing.T, certificate tls.Certificate) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "sni=%s host=%s from=%s", r.TLS.ServerName, r.Host, r.RemoteAddr)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestNoConnectionCarriesAnotherName sends requests for two hosts in turn to
// one https instance: each travels over a connection that was opened for it.
func TestNoConnectionCarriesAnotherName(t *testing.T) {
	certificate, roots := signed(t, time.Now().Add(time.Hour), "a.example.org", "b.example.org")
	s := secureOrigin(t, certificate)
	k := newStack(t, settings{registry: upstream.RegistryOptions{Roots: roots}})
	k.service("web", []string{s.Listener.Addr().String()}, "ingress.host=a.example.org,b.example.org", "ingress.scheme=https")
	c := k.dial()
	connections := make(map[string]bool)
	for i := range 6 {
		host := string("ab"[i%2]) + ".example.org"
		c.send("GET / HTTP/1.1", "Host: "+host, "")
		body := c.status("GET", 200, "")
		if !strings.HasPrefix(body, "sni="+host+" host="+host+" ") {
			t.Errorf("the request for %s went as %s", host, body)
		}
		_, from, _ := strings.Cut(body, "from=")
		connections[from] = true
	}
	if len(connections) != 2 {
		t.Errorf("six requests for two names took %d connections, want 2", len(connections))
	}
}

// TestServerNameOfInstances holds the name that is sent and verified to the
// tags.
func TestServerNameOfInstances(t *testing.T) {
	certificate, roots := signed(t, time.Now().Add(time.Hour), "web.example.org", "inner.example.org", "tls.example.org", "127.0.0.1")
	s := secureOrigin(t, certificate)
	address := s.Listener.Addr().String()
	for name, c := range map[string]struct {
		tags []string
		want string
	}{
		"the request's host":           {nil, "sni=web.example.org host=web.example.org "},
		"upstream-host":                {[]string{"ingress.upstream-host=inner.example.org"}, "sni=inner.example.org host=inner.example.org "},
		"upstream-host with a port":    {[]string{"ingress.upstream-host=inner.example.org:8443"}, "sni=inner.example.org host=inner.example.org:8443 "},
		"upstream-host=address":        {[]string{"ingress.upstream-host=address"}, "sni= host=" + address + " "},
		"tls-name before all":          {[]string{"ingress.upstream-host=inner.example.org", "ingress.tls-name=tls.example.org"}, "sni=tls.example.org host=inner.example.org "},
		"a check, the route's host":    {[]string{"ingress.check=/"}, "sni=web.example.org host=web.example.org "},
		"a check, with upstream-host":  {[]string{"ingress.check=/", "ingress.upstream-host=inner.example.org"}, "sni=inner.example.org host=inner.example.org "},
		"a check, address":             {[]string{"ingress.check=/", "ingress.upstream-host=address"}, "sni= host=" + address + " "},
		"a check, verification is off": {[]string{"ingress.check=/", "ingress.tls-verify=false"}, "sni=web.example.org host=web.example.org "},
	} {
		t.Run(name, func(t *testing.T) {
			k := newStack(t, settings{registry: upstream.RegistryOptions{Roots: roots}})
			k.service("web", []string{address}, append(c.tags, "ingress.host=web.example.org", "ingress.scheme=https", "ingress.wait=1m")...)
			p := k.dial()
			p.send("GET / HTTP/1.1", "Host: web.example.org", "")
			if res, body := p.answer("GET"); res.StatusCode != 200 || !strings.HasPrefix(body, c.want) {
				t.Errorf("answer %s %q, want %q; instances %+v", res.Status, body, c.want, k.states())
			}
		})
	}
}

// TestFailedHandshakes: with the only instance there is, a handshake that fails
// is tried as often as retries allow, within the route's time, and its cause is
// told.
func TestFailedHandshakes(t *testing.T) {
	good, roots := signed(t, time.Now().Add(time.Hour), "web.example.org")
	other, otherRoots := signed(t, time.Now().Add(time.Hour), "other.example.org")
	expired, expiredRoots := signed(t, time.Now().Add(-time.Hour), "web.example.org")
	for name, c := range map[string]struct {
		roots *x509.CertPool
		speak func(net.Conn)
		cause string
	}{
		"another name":      {otherRoots, handshake(other), "certificate is not for web.example.org"},
		"unknown authority": {otherRoots, handshake(good), "unknown authority"},
		"expired":           {expiredRoots, handshake(expired), "expired"},
		"not TLS":           {roots, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "does not speak TLS"},
		"silent":            {roots, func(c net.Conn) { io.Copy(io.Discard, c) }, "in time"},
		"closed":            {roots, func(c net.Conn) {}, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var handshakes atomic.Int64
			address := speaking(t, &handshakes, c.speak)
			connect := long
			if name == "silent" {
				connect = 2 * time.Second
			}
			k := newStack(t, settings{registry: upstream.RegistryOptions{Roots: c.roots, ConnectTimeout: connect}})
			k.service("web", []string{address}, "ingress.host=web.example.org", "ingress.scheme=https", "ingress.retries=2", "ingress.timeout="+(connect+time.Second).String())
			p := k.dial()
			p.send("GET / HTTP/1.1", "Host: web.example.org", "")
			res, body := p.answer("GET")
			if reason := res.Header.Get("X-Serai-Reason"); res.StatusCode != 502 || reason != "tls-failed" || !strings.Contains(body, c.cause) {
				t.Errorf("answer %s, reason %q, %q; want 502, tls-failed and %q", res.Status, reason, body, c.cause)
			}
			if n := handshakes.Load(); n < 1 || n > 3 {
				t.Errorf("%d handshakes with retries=2", n)
			}
		})
	}
}

// TestNamesOfClientsEjectNobody: of two instances whose certificate covers one
// host, none is ejected because clients ask for others within a wildcard; where
// the route names the host itself, one is, and it is told why.
func TestNamesOfClientsEjectNobody(t *testing.T) {
	certificate, roots := signed(t, time.Now().Add(time.Hour), "a.example.org")
	addresses := []string{secureOrigin(t, certificate).Listener.Addr().String(), secureOrigin(t, certificate).Listener.Addr().String()}
	for host, ejected := range map[string]bool{"*.example.org": false, "b.example.org": true} {
		k := newStack(t, settings{registry: upstream.RegistryOptions{Roots: roots, EjectAfter: 2, EjectTime: time.Hour}})
		k.service("web", addresses, "ingress.host="+host, "ingress.scheme=https")
		k.awaitReady()
		c := k.dial()
		for range 10 {
			c.send("POST / HTTP/1.1", "Host: b.example.org", "Content-Length: 0", "")
			c.status("POST", 502, "tls-failed")
		}
		out := 0
		for _, e := range k.states() {
			if e.State == upstream.Ejected {
				out++
				if !strings.Contains(e.Cause, "not for b.example.org") {
					t.Errorf("ejected because %q", e.Cause)
				}
			} else if !strings.Contains(e.Problem, "not for b.example.org") {
				t.Errorf("an instance whose handshakes fail tells %q", e.Problem)
			}
		}
		if (out > 0) != ejected {
			t.Errorf("route %s: %d instances ejected", host, out)
		}
	}
}

// handshake speaks TLS with a certificate, and answers.
func handshake(certificate tls.Certificate) func(net.Conn) {
	return func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if s.Handshake() == nil {
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
}

// speaking listens, and gives each connection that brings a byte to speak.
// Probes bring none.
func speaking(t *testing.T, connections *atomic.Int64, speak func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				if _, err := r.Peek(1); err == nil {
					connections.Add(1)
					speak(peeked{c, r})
				}
			})
		}
	})
	return l.Addr().String()
}

// peeked is a connection whose first bytes are in r.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// TestHostOfChecks holds the Host of a check to the tags, and routes that want
// the same check to one endpoint.
func TestHostOfChecks(t *testing.T) {
	for name, c := range map[string]struct {
		tags []string
		want []string // of each endpoint, in any order
	}{
		"the first name":       {[]string{"ingress.host=*.example.org,a.example.org,b.example.org", "ingress.check=/"}, []string{"a.example.org"}},
		"wildcards only":       {[]string{"ingress.host=*.example.org", "ingress.check=/"}, []string{""}},
		"two routes share one": {[]string{"ingress.a.host=a.example.org", "ingress.a.check=/", "ingress.b.host=b.example.org", "ingress.b.check=/"}, []string{"a.example.org"}},
		"upstream-host":        {[]string{"ingress.host=a.example.org", "ingress.check=/", "ingress.upstream-host=x.test:81"}, []string{"x.test:81"}},
		"no check":             {[]string{"ingress.host=a.example.org"}, []string{""}},
	} {
		k := newStack(t, settings{})
		k.service("web", []string{"127.0.0.1:9"}, c.tags...)
		var got []string
		for _, e := range k.registry.All() {
			got = append(got, e.Target().Check.Host)
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s: hosts of checks %q, want %q", name, got, c.want)
		}
	}
}

package tls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/tls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair makes a self-signed certificate for names.
func pair(t testing.TB, notAfter time.Time, names ...string) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

var nextYear = time.Now().AddDate(1, 0, 0)

func certificate(t testing.TB, source string, notAfter time.Time, names ...string) *tls.Certificate {
	t.Helper()
	certPEM, keyPEM := pair(t, notAfter, names...)
	c, err := tls.NewCertificate(source, certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLookup(t *testing.T) {
	exact := certificate(t, "exact", nextYear, "a.example.org")
	wild := certificate(t, "wild", nextYear, "*.example.org", "example.org")
	longer := certificate(t, "longer", nextYear.AddDate(1, 0, 0), "a.example.org")
	fallback := certificate(t, "fallback", nextYear, "fallback.test")
	table := tls.NewTable([]*tls.Certificate{exact, wild, fallback}, fallback)
	for name, want := range map[string]*tls.Certificate{
		"a.example.org": exact, "A.Example.ORG": exact, "a.example.org.": exact,
		"b.example.org": wild, "example.org": wild,
		"a.b.example.org": fallback, "": fallback, "org": fallback, "..": fallback, "*.example.org": wild,
	} {
		if got := table.Lookup(name); got != want {
			t.Errorf("%q is answered by %v, want %s", name, got, want.Source)
		}
	}
	if got := tls.NewTable([]*tls.Certificate{exact, longer}, nil).Lookup("a.example.org"); got != longer {
		t.Errorf("of two certificates for a name, %s answers, want the one that is valid longer", got.Source)
	}
	if got := tls.NewTable([]*tls.Certificate{exact}, nil).Lookup("other.test"); got != nil {
		t.Errorf("%s answers a name it does not cover", got.Source)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	table := tls.NewTable([]*tls.Certificate{certificate(t, "exact", nextYear, "a.example.org")}, nil)
	if n := testing.AllocsPerRun(100, func() { table.Lookup("a.example.org") }); n != 0 {
		t.Errorf("a lookup allocates %v times", n)
	}
}

func write(t *testing.T, dir, name string, certPEM, keyPEM []byte) {
	t.Helper()
	for suffix, content := range map[string][]byte{".crt": certPEM, ".key": keyPEM} {
		if content == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name+suffix), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBadFiles has one bad pair beside a good one, in each way to be bad.
func TestBadFiles(t *testing.T) {
	goodCert, goodKey := pair(t, nextYear, "good.test")
	_, otherKey := pair(t, nextYear, "other.test")
	nameless, namelessKey := pair(t, nextYear)
	for _, c := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"no key", goodCert, nil, "there is no such file"},
		{"key of another", goodCert, otherKey, "does not match"},
		{"garbage", []byte("garbage"), goodKey, "failed to find any PEM data"},
		{"empty", []byte{}, goodKey, "failed to find any PEM data"},
		{"swapped", goodKey, goodCert, "certificate"},
		{"encrypted key", goodCert, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "private key"},
		{"no name", nameless, namelessKey, "covers no DNS name"},
		{"huge", make([]byte, 2<<20), goodKey, "are more than a PEM file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "good", goodCert, goodKey)
			write(t, dir, "bad", c.cert, c.key)
			s := tls.NewStore()
			err := (&tls.Files{Dir: dir}).Load(s)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Join(dir, "bad.")) {
				t.Errorf("error %v, want it to name the file and to say %q", err, c.want)
			}
			if s.Current().Lookup("good.test") == nil {
				t.Error("the good pair beside it is not served")
			}
		})
	}
	if err := (&tls.Files{Dir: filepath.Join(t.TempDir(), "missing")}).Load(tls.NewStore()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

// TestFilesAreFollowed replaces, breaks, adds and removes pairs under a running
// watcher, and checks it by handshakes.
func TestFilesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	first, firstKey := pair(t, nextYear, "a.test")
	write(t, dir, "a", first, firstKey)
	s := tls.NewStore()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); (&tls.Files{Dir: dir, Every: time.Millisecond}).Run(ctx, s) }()
	defer func() { cancel(); <-done }()

	serial := func(name string) string {
		c, err := handshake(s, name)
		if err != nil {
			return ""
		}
		return c.SerialNumber.String()
	}
	await := func(what string, condition func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never came: %s", what)
			}
		}
	}
	await("first certificate", func() bool { return serial("a.test") != "" })
	old := serial("a.test")

	second, secondKey := pair(t, nextYear, "a.test")
	write(t, dir, "a", second, nil) // the key does not match yet
	for range 20 {
		time.Sleep(time.Millisecond)
		if got := serial("a.test"); got != old {
			t.Fatalf("half a pair is served: serial %q", got)
		}
	}
	write(t, dir, "a", nil, secondKey)
	await("second certificate", func() bool { return serial("a.test") != old })

	// A volume or an image may bring other files of the same size, with their old time.
	long := time.Now().Add(-10 * time.Hour)
	for _, name := range []string{"a.crt", "a.key"} {
		if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	third, thirdKey := pair(t, nextYear, "a.test")
	for len(third) != len(second) || len(thirdKey) != len(secondKey) {
		third, thirdKey = pair(t, nextYear, "a.test")
	}
	old = serial("a.test")
	stamp := time.Now()
	for end := stamp.Add(time.Minute); time.Since(stamp) < 100*time.Millisecond && time.Now().Before(end); time.Sleep(time.Millisecond) {
	} // until the files have been read with that time
	for name, text := range map[string][]byte{"a.key": thirdKey, "a.crt": third} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file+".new", long, long); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	await("a certificate of the same time and size", func() bool { return serial("a.test") != old })

	fallback, fallbackKey := pair(t, nextYear, "fallback.test")
	if serial("unknown.test") != "" {
		t.Fatal("an unknown name got a certificate without a default one")
	}
	write(t, dir, "default", fallback, fallbackKey)
	await("default certificate", func() bool { return serial("unknown.test") != "" })
	os.Remove(filepath.Join(dir, "default.crt"))
	await("default certificate removed", func() bool { return serial("unknown.test") == "" })
	if s.UnknownNames() == 0 {
		t.Error("unknown names were not counted")
	}
}

// handshake connects to a listener of s with a server name and returns the certificate.
func handshake(s *tls.Store, name string) (*x509.Certificate, error) {
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		stdtls.Server(server, s.Config(tls.ConfigOptions{Protocols: []string{"http/1.1"}})).Handshake()
	}()
	conn := stdtls.Client(client, &stdtls.Config{ServerName: name, InsecureSkipVerify: true})
	err := conn.Handshake()
	client.Close()
	<-done
	if err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

func TestPolicy(t *testing.T) {
	s := tls.NewStore()
	s.Set("test", []*tls.Certificate{certificate(t, "a", nextYear, "a.test")}, nil)
	try := func(client *stdtls.Config) error {
		a, b := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer b.Close()
			stdtls.Server(b, s.Config(tls.ConfigOptions{Protocols: []string{"http/1.1"}})).Handshake()
		}()
		client.ServerName, client.InsecureSkipVerify = "a.test", true
		err := stdtls.Client(a, client).Handshake()
		a.Close()
		<-done
		return err
	}
	if err := try(&stdtls.Config{MaxVersion: stdtls.VersionTLS11, MinVersion: stdtls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if err := try(&stdtls.Config{MaxVersion: stdtls.VersionTLS12, CipherSuites: []uint16{stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}); err == nil {
		t.Error("a CBC suite was accepted")
	}
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		if err := try(&stdtls.Config{MinVersion: version, MaxVersion: version}); err != nil {
			t.Errorf("TLS %x: %v", version, err)
		}
	}
}

// pipe makes a handshake between a client and a listener's config.
func pipe(t testing.TB, server, client *stdtls.Config) (state stdtls.ConnectionState, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		s := stdtls.Server(c, server)
		if s.Handshake() == nil {
			s.Write([]byte("x")) // also reads the ticket of TLS 1.3
			s.Read(make([]byte, 1))
		}
	}()
	defer func() { <-done }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := stdtls.Client(c, client)
	if err := conn.Handshake(); err != nil {
		return state, err
	}
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState(), err
}

// TestTicketsAreShared resumes on one serai a session of another, with the same keys,
// and fails to without; a key that is no longer the newest still opens tickets.
func TestTicketsAreShared(t *testing.T) {
	cert := certificate(t, "a", nextYear, "a.test")
	serai := func(keys ...tls.TicketKey) *stdtls.Config {
		s := tls.NewStore()
		s.Set("test", []*tls.Certificate{cert}, nil)
		config := s.Config(tls.ConfigOptions{Protocols: []string{"http/1.1"}})
		s.SetTickets(keys)
		return config
	}
	old, now := tls.TicketKey{1}, tls.TicketKey{2}
	for _, c := range []struct {
		name          string
		first, second *stdtls.Config
		resumes       bool
	}{
		{"the same keys", serai(old), serai(old), true},
		{"a newer key before it", serai(old), serai(now, old), true},
		{"other keys", serai(old), serai(now), false},
		{"keys of their own", serai(), serai(), false},
	} {
		for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
			client := &stdtls.Config{ServerName: "a.test", InsecureSkipVerify: true, ClientSessionCache: stdtls.NewLRUClientSessionCache(1), MaxVersion: version}
			if _, err := pipe(t, c.first, client); err != nil {
				t.Fatal(err)
			}
			state, err := pipe(t, c.second, client)
			if err != nil || state.DidResume != c.resumes {
				t.Errorf("%s, %s: resumed %v (%v), want %v", c.name, stdtls.VersionName(version), state.DidResume, err, c.resumes)
			}
		}
	}
}

// TestAddressIsNoServerName: who sends an address in place of a name is asked for what who
// sends none is asked for.
func TestAddressIsNoServerName(t *testing.T) {
	for sent, want := range map[string]string{"192.0.2.7": "", "::1": "", "2001:db8::7": "", "": "", "192.0.2": "192.0.2", "192.0.2.7.example": "192.0.2.7.example", "a.test": "a.test"} {
		if got := tls.HostName(sent); got != want {
			t.Errorf("%q is the name %q, want %q", sent, got, want)
		}
	}
	s := tls.NewStore()
	config := s.Config(tls.ConfigOptions{Protocols: []string{"http/1.1"}})
	none, err := config.GetConfigForClient(&stdtls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for _, sent := range []string{"192.0.2.7", "::1"} {
		if got, err := config.GetConfigForClient(&stdtls.ClientHelloInfo{ServerName: sent}); got != none || err != nil {
			t.Errorf("%s has other settings: %v", sent, err)
		}
	}
}

// TestUnknownNameIsRefused with the alert that says so.
func TestUnknownNameIsRefused(t *testing.T) {
	s := tls.NewStore()
	s.Set("test", []*tls.Certificate{certificate(t, "a", nextYear, "a.test")}, nil)
	config := s.Config(tls.ConfigOptions{Protocols: []string{"http/1.1"}})
	for _, name := range []string{"b.test", "", strings.Repeat("x", 255), "a..test", "%00.test"} {
		_, err := pipe(t, config, &stdtls.Config{ServerName: name, InsecureSkipVerify: true})
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q: %v, want the alert unrecognized name", name, err)
		}
	}
	if got := s.UnknownNames(); got < 5 {
		t.Errorf("%d unknown names were counted", got)
	}
}

// TestGivenComesFirst: an operator's certificate takes precedence over an obtained one,
// until it has expired.
func TestGivenComesFirst(t *testing.T) {
	given := certificate(t, "given", time.Now().Add(time.Hour), "a.test")
	expired := certificate(t, "expired", time.Now().Add(-time.Minute), "b.test")
	given.Given, expired.Given = true, true
	a, b := certificate(t, "acme", nextYear, "a.test"), certificate(t, "acme", nextYear, "b.test")
	s := tls.NewStore()
	s.Set("acme", []*tls.Certificate{a, b}, nil)
	s.Set("files", []*tls.Certificate{given, expired}, nil)
	if got := s.Current().Lookup("a.test"); got != given {
		t.Errorf("%s answers, want the one that was given", got.Source)
	}
	if got := s.Current().Lookup("b.test"); got != b {
		t.Errorf("%s answers in place of one that has not expired", got.Source)
	}
	if !s.Given("A.test.") || s.Given("b.test") || s.Given("c.test") {
		t.Error("what is given is not what counts as given")
	}
}

// TestShares says which hosts may come over which connections.
func TestShares(t *testing.T) {
	dir := t.TempDir()
	ca, _ := pair(t, nextYear, "ca.test")
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	clients, err := tls.NewClients([]tls.ClientRule{{Hosts: []string{"closed.test", "*.closed.test"}, CAFile: file}, {Hosts: []string{"other.test"}, CAFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	s := tls.NewStore()
	fallback := certificate(t, "fallback", nextYear, "fallback.test")
	s.Set("test", []*tls.Certificate{
		certificate(t, "one", nextYear, "a.test", "b.test", "closed.test", "other.test"), certificate(t, "wild", nextYear, "*.test2"), fallback,
		certificate(t, "below", nextYear, "*.closed.test"),
	}, fallback)
	for _, c := range []struct {
		secure     bool
		name, host string
		want       bool
	}{
		{true, "a.test", "a.test", true}, {true, "a.test", "A.TEST.:8443", true}, {true, "a.test", "b.test", true},
		{true, "a.test", "x.test2", false}, {true, "x.test2", "y.test2", true}, {true, "x.test2", "a.test", false},
		{true, "unknown.test", "unheard.test", true}, {true, "unknown.test", "a.test", false},
		{true, "", "a.test", true}, {true, "", "closed.test", false}, {true, "a.test", "closed.test", false},
		{true, "closed.test", "closed.test", true}, {true, "closed.test", "a.test", false}, {true, "closed.test", "other.test", false},
		{true, "closed.test", "x.closed.test", false}, {true, "x.closed.test", "y.closed.test", true}, {true, "a.test", "x.closed.test:443", false},
		{false, "", "a.test", true}, {false, "", "closed.test", false}, {false, "", "CLOSED.test.:80", false},
	} {
		if got := s.Shares(clients, c.secure, c.name, c.host); got != c.want {
			t.Errorf("%s over a connection for %q (TLS %v): %v, want %v", c.host, c.name, c.secure, got, c.want)
		}
	}
	if !s.Shares(nil, false, "", "closed.test") {
		t.Error("plain HTTP is refused where nobody demands anything")
	}
}

// BenchmarkLookup finds a name among many.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 5000} {
		one := certificate(b, "x", nextYear, "x.test")
		var all []*tls.Certificate
		for i := range n {
			c := *one
			c.Names = []string{fmt.Sprintf("host-%d.example.org", i)}
			all = append(all, &c)
		}
		table := tls.NewTable(all, nil)
		b.Run(fmt.Sprintf("certificates=%d", n), func(b *testing.B) {
			for i := range b.N {
				if table.Lookup(all[i%n].Names[0]) == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}

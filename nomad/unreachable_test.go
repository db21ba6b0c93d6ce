package nomad_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// closedPort is a loopback address on which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// socketPath is short enough for a Unix socket, which t.TempDir may not be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "serai")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "api.sock")
}

// TestUnreachable is about agents that do not answer. The errors differ, because the
// operator must look at different things.
func TestUnreachable(t *testing.T) {
	missing := socketPath(t)
	plain := socketPath(t)
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		address string
		says    []string
	}{
		"refused":        {"http://" + closedPort(t), []string{"connection refused", "is an agent running at http://127.0.0.1:"}},
		"refused TLS":    {"https://" + closedPort(t), []string{"connection refused", "is an agent running at https://127.0.0.1:"}},
		"unknown host":   {"http://no-such-host.invalid:4646", []string{"no-such-host.invalid", "does not resolve", "NOMAD_ADDR"}},
		"socket missing": {"unix://" + missing, []string{"no such file", missing, "mounted in this task"}},
		"no socket":      {"unix://" + plain, []string{"connection refused", plain, "mounted in this task"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, nomad.Options{Address: tc.address})
			for _, call := range calls {
				n, err := call.do(testContext(t), c)
				check(t, err, nomad.ErrUnreachable, append(tc.says, call.op)...)
				if n != 0 {
					t.Errorf("%s got %d", call.name, n)
				}
			}
		})
	}
}

// TestPartition is about an agent that accepted the connection and is silent.
func TestPartition(t *testing.T) {
	sim := nomadsim.New(nomadsim.Options{})
	c := connect(t, nomad.Options{Address: simulate(t, sim),
		Limits: nomad.Limits{Request: 500 * time.Millisecond, FirstLine: 500 * time.Millisecond}})
	sim.Partition(true)
	for _, call := range calls {
		kind := nomad.ErrUnreachable
		if call.name == "stream" {
			kind = nomad.ErrStreamSilent
		}
		_, err := call.do(testContext(t), c)
		check(t, err, kind, call.op, "(500ms)")
	}
	sim.Partition(false)
	c = connect(t, nomad.Options{Address: c.Address()})
	if _, _, err := c.Services(testContext(t), nomad.Query{}); err != nil {
		t.Errorf("after the network healed: %v", err)
	}
}

// TestAgentRestarts: kept-alive connections are dead, but requests do not fail.
func TestAgentRestarts(t *testing.T) {
	sim := nomadsim.New(nomadsim.Options{})
	c := connect(t, nomad.Options{Address: simulate(t, sim)})
	for range 5 {
		if _, _, err := c.Services(testContext(t), nomad.Query{}); err != nil {
			t.Fatal(err)
		}
		sim.Disconnect()
	}
}

// TestSocket talks over a Unix socket, as a task does.
func TestSocket(t *testing.T) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	sim := nomadsim.New(nomadsim.Options{RequireToken: true})
	run(t, sim, l)
	c := connect(t, nomad.Options{Address: "unix://" + path})
	if c.Address() != "unix://"+path {
		t.Errorf("address %q", c.Address())
	}
	for _, call := range calls {
		if call.name == "variable" {
			continue
		}
		if _, err := call.do(testContext(t), c); err != nil {
			t.Error(err)
		}
	}
	anonymous, err := nomad.NewClient(nomad.Options{Address: "unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	defer anonymous.CloseIdleConnections()
	for _, call := range calls {
		_, err := call.do(testContext(t), anonymous)
		check(t, err, nomad.ErrTokenRefused, call.op, "answered 401", "identity")
	}
}

// serveTLS answers as sim over TLS until the test ends.
func serveTLS(t *testing.T, config *tls.Config) string {
	t.Helper()
	s := httptest.NewUnstartedServer(nomadsim.New(nomadsim.Options{}))
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused handshakes
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	server := ca.issue(t, "server.global.nomad", time.Hour)
	address := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{server.pair}})
	named := nomad.TLS{CACert: ca.file, ServerName: "server.global.nomad"}

	for name, tc := range map[string]struct {
		address string
		tls     nomad.TLS
		kind    error
		says    []string // nil means success
	}{
		"right CA":      {address, named, nil, nil},
		"CA directory":  {address, nomad.TLS{CAPath: filepath.Dir(ca.file), ServerName: named.ServerName}, nil, nil},
		"skip verify":   {address, nomad.TLS{SkipVerify: true}, nil, nil},
		"wrong CA":      {address, nomad.TLS{CACert: other.file, ServerName: named.ServerName}, nomad.ErrUnreachable, []string{"NOMAD_CACERT"}},
		"system's CAs":  {address, nomad.TLS{ServerName: named.ServerName}, nomad.ErrUnreachable, []string{"NOMAD_CACERT"}},
		"other name":    {address, nomad.TLS{CACert: ca.file}, nomad.ErrUnreachable, []string{"NOMAD_TLS_SERVER_NAME"}},
		"http to https": {strings.Replace(address, "https", "http", 1), nomad.TLS{}, nomad.ErrBadAnswer, []string{"write https://"}},
		"https to http": {"https://" + strings.TrimPrefix(serve(t, nomadsim.New(nomadsim.Options{})), "http://"), named, nomad.ErrUnreachable, []string{"write http://"}},
		"expired": {serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, named.ServerName, -time.Hour).pair}}), named,
			nomad.ErrUnreachable, []string{"expired", "renew the agent's certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, nomad.Options{Address: tc.address, TLS: tc.tls})
			for _, call := range calls {
				if call.name == "variable" {
					continue
				}
				_, err := call.do(testContext(t), c)
				switch {
				case tc.says == nil && err != nil:
					t.Error(err)
				case tc.says != nil:
					check(t, err, tc.kind, append(tc.says, call.op)...)
				}
			}
		})
	}
}

// TestClientCertificate sends a certificate if the agent wants one, and the new one
// after it was rewritten.
func TestClientCertificate(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	var serials []string
	address := serveTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "server.global.nomad", time.Hour).pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.pool(),
		VerifyConnection: func(s tls.ConnectionState) error {
			serials = append(serials, s.PeerCertificates[0].SerialNumber.String())
			return nil
		},
	})
	o := nomad.Options{Address: address, TLS: nomad.TLS{CACert: ca.file, ServerName: "server.global.nomad"}}

	_, _, err := connect(t, o).Services(testContext(t), nomad.Query{})
	check(t, err, nomad.ErrUnreachable, "NOMAD_CLIENT_CERT", "NOMAD_CLIENT_KEY")
	wrong := other.issue(t, "client", time.Hour)
	o.TLS.ClientCert, o.TLS.ClientKey = wrong.cert, wrong.key
	_, _, err = connect(t, o).Services(testContext(t), nomad.Query{})
	check(t, err, nomad.ErrUnreachable, "NOMAD_CLIENT_CERT", "NOMAD_CLIENT_KEY")

	mine := ca.issue(t, "client", time.Hour)
	o.TLS.ClientCert, o.TLS.ClientKey = mine.cert, mine.key
	c := connect(t, o)
	if _, _, err := c.Services(testContext(t), nomad.Query{}); err != nil {
		t.Fatal(err)
	}
	renewed := ca.issue(t, "client", time.Hour)
	for from, to := range map[string]string{renewed.cert: mine.cert, renewed.key: mine.key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	c.CloseIdleConnections()
	if _, _, err := c.Services(testContext(t), nomad.Query{}); err != nil {
		t.Fatal(err)
	}
	if n := len(serials); n != 2 || serials[0] == serials[1] {
		t.Errorf("the agent saw certificates %q; want two different ones", serials)
	}
	if err := os.Remove(mine.cert); err != nil {
		t.Fatal(err)
	}
	c.CloseIdleConnections()
	_, _, err = c.Services(testContext(t), nomad.Query{})
	check(t, err, nomad.ErrUnreachable, "load the client certificate", mine.cert)
}

// TestRotatedAuthority trusts the authority that its file names now, and the last one while the
// file cannot be read.
func TestRotatedAuthority(t *testing.T) {
	const name = "server.global.nomad"
	old, next := newAuthority(t), newAuthority(t)
	var now atomic.Pointer[tls.Certificate]
	present := func(i issued) { now.Store(&i.pair) }
	address := serveTLS(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now.Load(), nil }})
	for _, named := range []nomad.TLS{{CACert: old.file, ServerName: name}, {CAPath: filepath.Dir(old.file), ServerName: name}} {
		write(t, old.file, "CERTIFICATE", old.cert.Raw)
		present(old.issue(t, name, time.Hour))
		c := connect(t, nomad.Options{Address: address, TLS: named})
		ask := func() error {
			c.CloseIdleConnections()
			_, _, err := c.Services(testContext(t), nomad.Query{})
			return err
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		present(next.issue(t, name, time.Hour))
		check(t, ask(), nomad.ErrUnreachable, "NOMAD_CACERT")
		write(t, old.file, "CERTIFICATE", next.cert.Raw)
		if err := ask(); err != nil {
			t.Errorf("%+v: after the authority was replaced: %v", named, err)
		}
		if err := os.Remove(old.file); err != nil {
			t.Fatal(err)
		}
		if err := ask(); err != nil {
			t.Errorf("%+v: while its file is missing: %v", named, err)
		}
	}
}

// TestNewClientRefuses reports everything that is wrong with Options at once.
func TestNewClientRefuses(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(dir, "absent.pem")
	for name, tc := range map[string]struct {
		o    nomad.Options
		says []string
	}{
		"CA is junk":      {nomad.Options{Address: "https://a:1", TLS: nomad.TLS{CACert: junk}}, []string{"set up TLS for nomad at a:1", "junk.pem"}},
		"CA is absent":    {nomad.Options{TLS: nomad.TLS{CACert: absent}}, []string{"NOMAD_CACERT", absent}},
		"CA dir absent":   {nomad.Options{TLS: nomad.TLS{CAPath: absent}}, []string{"NOMAD_CAPATH", absent}},
		"pair is junk":    {nomad.Options{Address: "https://a:1", TLS: nomad.TLS{ClientCert: junk, ClientKey: junk}}, []string{"set up TLS for nomad at a:1"}},
		"key is missing":  {nomad.Options{TLS: nomad.TLS{ClientCert: junk}}, []string{"NOMAD_CLIENT_CERT", "NOMAD_CLIENT_KEY", "set both"}},
		"cert is missing": {nomad.Options{TLS: nomad.TLS{ClientKey: junk}}, []string{"set both"}},
		"token":           {nomad.Options{Token: secret + " x"}, []string{"nomad token", "white space"}},
		"limits": {nomad.Options{Limits: nomad.Limits{Answer: -1, Line: -1, Request: -1, FirstLine: -1, Heartbeat: -1}},
			[]string{"Answer", "Line", "Request", "FirstLine", "Heartbeat", "negative"}},
		"everything": {nomad.Options{Address: "ftp://x", Token: "a b", TLS: nomad.TLS{CACert: absent, ClientKey: junk}},
			[]string{`"ftp://x"`, "white space", absent, "set both"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := nomad.NewClient(tc.o)
			if err == nil || c != nil {
				t.Fatalf("got %v, %v; want an error", c, err)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%v\ndoes not say %q", err, s)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%v\nshows the token", err)
			}
		})
	}
	if err := (nomad.Options{}).Validate(); err != nil {
		t.Errorf("zero Options: %v", err)
	}
}

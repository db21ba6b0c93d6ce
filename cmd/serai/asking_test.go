package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serai/admin"
	"serai/internal/testnet"
	"serai/nomad"
	"serai/tls"
	"serai/tls/acme"
)

// TestEventsFollowThroughARestart: serai events -f goes on with the serai that follows the one that
// stops, tells nothing twice, and says on standard error that it waits.
func TestEventsFollowThroughARestart(t *testing.T) {
	at, services := testnet.Address(t), filepath.Join(t.TempDir(), "services.json")
	writeServices(t, services, instance(t, "web", "ingress.host=web.example.org"))
	serve := func() *process {
		p := start(t, nil, "serve", "--no-nomad", "--services="+services, "--http="+testnet.Address(t), "--admin="+at, "--drain-delay=0s")
		until(t, "readiness", func() bool { status, _ := get(at, "localhost", "/ready"); return status == 200 })
		return p
	}
	for _, format := range []string{"", "-json"} {
		first := serve()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out, errs buffer
		ended := make(chan error, 1)
		args := append([]string{"events", "-f", "--event=started", "--admin=" + at}, strings.Fields(format)...)
		go func() { ended <- run(ctx, args, func(string) string { return "" }, &out, &errs) }()
		until(t, "the first start", func() bool { return strings.Count(out.String(), "serai starts") == 1 })
		first.stop()
		first.wait(t)
		until(t, "a word about it", func() bool { return strings.Contains(errs.String(), "asking again until it is back\n") })
		second := serve()
		until(t, "the second start", func() bool {
			return strings.Contains(out.String(), "serai starts") && strings.Contains(errs.String(), " is back\n") && strings.Count(out.String(), "serai starts") == 2
		})
		if n := strings.Count(errs.String(), "\n"); n != 2 {
			t.Errorf("standard error has %d lines: %s", n, errs.String())
		}
		if format != "" {
			for line := range strings.Lines(out.String()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %s", line)
				}
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ends with %v", err)
		}
		second.stop()
		second.wait(t)
	}
}

// TestFollowNobody: what cannot be followed at all ends at once, as does an admin that refuses.
func TestFollowNobody(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for at, want := range map[string]string{
		testnet.Address(t):             "connection refused; --admin names its admin address",
		other.Listener.Addr().String(): "404 Not Found; is that serai's admin address?",
	} {
		for _, args := range [][]string{{"events", "-f"}, {"top"}, {"status", "-json"}, {"rejections"}, {"certs"}} {
			out, err := says(t, append(args, "--admin="+at)...)
			if err == nil || !strings.Contains(err.Error(), want) || out != "" {
				t.Errorf("%v: %q, %v, want %q", args, out, err, want)
			}
		}
	}
}

// TestTopGoesOn: a serai that is away for a moment does not end serai top.
func TestTopGoesOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"items": [{"host": "shop.example.org", "path": "/", "namespace": "default", "service": "web", "traffic": {"requests_per_second": 1.5, "p99_ms": 12345}}], "total": 1}`)
	})
	serve := func(l net.Listener) *http.Server {
		s := &http.Server{Handler: answers}
		go s.Serve(l)
		return s
	}
	s := serve(l)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs buffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"top", "--every=200ms", "--admin=" + l.Addr().String()}, func(string) string { return "" }, &out, &errs)
	}()
	until(t, "a table", func() bool {
		return strings.Contains(out.String(), "shop.example.org/  default/web  0/0    1.5    -      -    12s")
	})
	s.Close()
	until(t, "a word about it", func() bool { return strings.Contains(errs.String(), "connection refused") })
	before := strings.Count(out.String(), "shop")
	again, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s = serve(again)
	defer s.Close()
	until(t, "the next table", func() bool { return strings.Count(out.String(), "shop") > before })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// TestCertsListBeforeTheFirst says why there is no certificate where ACME is on: not that it is off.
func TestCertsListBeforeTheFirst(t *testing.T) {
	for name, test := range map[string]struct {
		obtained *acme.Status
		want     string
	}{
		"no ACME":      {nil, "no certificate: set --cert-dir or --acme-email of serai serve"},
		"only a store": {&acme.Status{}, "no certificate: the certificate store has none, and this serai orders none, as --acme-email is not set"},
		"no host":      {&acme.Status{Directory: "https://ca.test/"}, "no certificate: ACME is on, but no route has a host to order one for;"},
		"not yet": {&acme.Status{Directory: "https://ca.test/", Hosts: []acme.HostStatus{{Host: "a.example.org"}, {Host: "b.example.org"}}},
			"no certificate yet: ACME is on; hosts that wait for one: 2, of which the last order failed: 0; see the hosts below, and serai events"},
		"failed": {&acme.Status{Directory: "https://ca.test/", Hosts: []acme.HostStatus{{Host: "a.example.org"}, {Host: "b.example.org", Error: "refused\x1b[2J"}}},
			`no certificate yet: ACME is on; hosts that wait for one: 2, of which the last order failed: 1 (b.example.org: refused\x1b[2J); see the hosts below, and serai events`},
	} {
		known := &admin.Certificates{Obtained: test.obtained}
		var out buffer
		if err := printCertificates(&out, known, known.WhyNone()); err != nil || !strings.HasPrefix(out.String(), test.want) || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: it prints %q, %v; want %q", name, out.String(), err, test.want)
		}
	}
}

// TestCertsListOfAnUnreachableCA: the terminal, serai status and the dashboard say that orders fail, and which.
func TestCertsListOfAnUnreachableCA(t *testing.T) {
	at := testnet.Address(t)
	serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=web.example.org")}, "--admin="+at, "--https=127.0.0.1:0",
		"--acme-email=ops@example.org", "--acme-directory=https://127.0.0.1:1/dir", "--cert-store=file", "--state-dir="+t.TempDir(), "--acme-peers=")
	const failed = "hosts that wait for one: 1, of which the last order failed: 1 (web.example.org: "
	until(t, "a failed order", func() bool {
		out, err := says(t, "certs", "list", "--admin="+at)
		return err == nil && strings.HasPrefix(out, "no certificate yet: ACME is on; "+failed) && strings.Contains(out, "\nHOST ")
	})
	if out, err := says(t, "status", "--admin="+at); err != nil || !strings.Contains(out, "certificates  hosts that wait for one: 1, hosts whose last order failed: 1; see serai certs list\n") {
		t.Errorf("serai status says %q, %v", out, err)
	}
	if _, page := get(at, "localhost", "/ui/certificates"); !strings.Contains(page, failed) {
		t.Errorf("the dashboard says %s", page)
	}
}

// TestCertsList prints what expires first above, and nothing that moves the cursor of a terminal.
func TestCertsList(t *testing.T) {
	now := time.Now()
	known := &admin.Certificates{Certificates: []tls.Status{
		{Names: []string{"a.example.org"}, Issuer: "CN=CA", NotAfter: now.Add(90*24*time.Hour + time.Hour), Source: "nomad"},
		{Names: []string{"b.example.org", "c.example.org"}, Issuer: "CN=\x1b[2Jevil", NotAfter: now.Add(-time.Hour), Source: "/certs/b.crt"},
		{Names: []string{"d.example.org"}, Issuer: "CN=CA", NotAfter: now.Add(30*time.Hour + time.Minute), Source: "/certs/d.crt"},
	}}
	var out buffer
	if err := printCertificates(&out, known, known.WhyNone()); err != nil {
		t.Fatal(err)
	}
	var firsts []string
	for line := range strings.Lines(out.String()) {
		firsts = append(firsts, strings.Join(strings.Fields(line)[:2], " "))
	}
	if got := strings.Join(firsts, "; "); got != "NAMES LEFT; b.example.org,c.example.org expired; d.example.org 30h; a.example.org 90d" || strings.Contains(out.String(), "\x1b") {
		t.Errorf("it prints %q:\n%s", got, out.String())
	}
	at := testnet.Address(t)
	serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=web.example.org")}, "--admin="+at)
	if out, err := says(t, "certs", "--cert-dir="+t.TempDir()); err != nil || !strings.HasPrefix(out, "no certificate: --cert-dir has no pair") {
		t.Errorf("of an empty directory: %q, %v", out, err)
	}
	for _, args := range [][]string{{"certs"}, {"certs", "list"}} {
		if out, err := says(t, append(args, "--admin="+at)...); err != nil || !strings.HasPrefix(out, "no certificate: set --cert-dir") {
			t.Errorf("%v without HTTPS: %q, %v", args, out, err)
		}
		if out, err := says(t, append(args, "-json", "--admin="+at)...); err != nil || !json.Valid([]byte(out)) {
			t.Errorf("%v -json: %q, %v", args, out, err)
		}
	}
	if out, err := says(t, "certs", "-json", "--cert-dir="+selfSigned(t)); err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, "default.crt") {
		t.Errorf("of a directory: %q, %v", out, err)
	}
	if out, err := says(t, "routes", "--offset=5", "--admin="+at); err != nil || out != "no more: there are 1, and --offset=5 leaves them out\n" {
		t.Errorf("behind the last route: %q, %v", out, err)
	}
}

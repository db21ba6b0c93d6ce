package main

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"serai/nomad"
)

// otherProtocols are instances that speak something else than their route says, and
// leave the connection open. What they say cannot become an answer, so nobody waits for
// more of it: before, the request took all of its timeout, and then the answer was 504.
var otherProtocols = []struct{ name, says, detail string }{
	{"http2", "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80", "the instance speaks HTTP/2: does its route need scheme=h2c?"},
	{"tls", "\x15\x03\x01\x00\x02\x02\x28", "the instance speaks TLS: does its route need scheme=https?"},
	{"text", "<html>hello</html>", "bad-status-line"},
	{"nul", "\x00", "bad-status-line"},
	{"greeting", "220 mail.example.org ESMTP", "bad-status-line"},
	{"lower", "http/1.1 200 OK", "bad-status-line"},
}

func TestReportsOfOtherProtocols(t *testing.T) {
	var regs []nomad.Registration
	for _, c := range otherProtocols {
		l, reg := byHand(t, c.name, "ingress.host="+c.name+".example.org", "ingress.timeout=10m")
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				io.WriteString(conn, c.says) // and then nothing
			}
		}()
		regs = append(regs, reg)
	}
	_, address := serveStatic(t, regs)
	for _, c := range otherProtocols {
		for _, method := range []string{"GET", "POST"} {
			status, reason, body := askHost(t, address, method, c.name+".example.org")
			if status != 502 || reason != "bad-answer" || !strings.Contains(body, c.detail) {
				t.Errorf("%s of %s: %d %s %q, want 502 bad-answer with %q", method, c.name, status, reason, body, c.detail)
			}
		}
	}
}

// TestReportsOfClientCertificates has an instance that demands a certificate, which with
// TLS 1.3 it says in place of its first answer.
func TestReportsOfClientCertificates(t *testing.T) {
	o := httptest.NewUnstartedServer(http.NotFoundHandler())
	o.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	o.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	o.StartTLS()
	defer o.Close()
	a := o.Listener.Addr().(*net.TCPAddr)
	_, address := serveStatic(t, []nomad.Registration{{ServiceName: "web", Address: a.IP.String(), Port: a.Port,
		Tags: []string{"ingress.host=web.example.org", "ingress.scheme=https", "ingress.tls-verify=false"}}})
	status, reason, body := askHost(t, address, "GET", "web.example.org")
	if status != 502 || reason != "tls-failed" || !strings.Contains(body, "demands a client certificate") {
		t.Errorf("%d %s %q", status, reason, body)
	}
}

// askHost makes a request, of a POST with a body in chunks, and returns what of the
// answer says why it was refused.
func askHost(t *testing.T, address, method, host string) (status int, reason, body string) {
	t.Helper()
	var sent io.Reader
	if method == "POST" {
		sent = io.MultiReader(strings.NewReader("body")) // of a length that the client does not know
	}
	q, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/", sent)
	if err != nil {
		t.Fatal(err)
	}
	q.Host = host
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: long}
	r, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header.Get("X-Serai-Reason"), string(text)
}

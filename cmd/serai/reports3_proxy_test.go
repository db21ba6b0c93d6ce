package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
)

// TestReportsOfProxyHeaders has a load balancer that sends PROXY headers where
// --proxy-protocol-from does not name it: the answer and the count say so.
func TestReportsOfProxyHeaders(t *testing.T) {
	dir, issuer := t.TempDir(), authority(t)
	issuer.write(t, dir, "default", "web.example.org")
	secure, admin := testnet.Address(t), testnet.Address(t)
	o := newRecorder(t, func(*http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" })
	_, address := serveStatic(t, []nomad.Registration{o.registration("ingress.host=web.example.org")}, "--https="+secure, "--cert-dir="+dir, "--admin="+admin)
	const request = "GET / HTTP/1.1\r\nHost: web.example.org\r\nConnection: close\r\n\r\n"
	const second = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x15\xb3\x00\x50"
	counted := 0
	for name, header := range map[string]string{
		"v1 of IPv4": "PROXY TCP4 192.0.2.7 10.0.0.1 5555 80\r\n", "v1 of IPv6": "PROXY TCP6 2001:db8::7 ::1 5555 80\r\n",
		"v1 unknown": "PROXY UNKNOWN\r\n", "v2": second, "v2 of a check": "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		answer := string(sendBytes(t, address, header+request))
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") || !strings.Contains(answer, "X-Serai-Reason: proxy-header\r\n") || !strings.Contains(answer, "--proxy-protocol-from") {
			t.Errorf("%s: %s", name, answer)
		}
		if answer := sendBytes(t, secure, header+"\x16\x03\x01"); len(answer) > 0 {
			t.Errorf("%s over HTTPS: %q", name, answer)
		}
		counted += 2
	}
	if answer := string(sendBytes(t, address, strings.Replace(request, "GET", "PROXY", 1))); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		t.Errorf("a method called PROXY: %s", answer)
	}
	until(t, "the count", func() bool {
		_, metrics := get(admin, admin, "/metrics")
		return strings.Contains(metrics, fmt.Sprintf("serai_answers_total{reason=\"proxy-header\"} %d\n", counted))
	})
}

// TestBrokenProxyHeaders has a load balancer that is named send PROXY headers that are
// wrong: each connection is closed and counted, and the log says now and then why.
func TestBrokenProxyHeaders(t *testing.T) {
	dir, issuer := t.TempDir(), authority(t)
	issuer.write(t, dir, "default", "web.example.org")
	secure, admin := testnet.Address(t), testnet.Address(t)
	o := newRecorder(t, func(*http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" })
	p, address := serveStatic(t, []nomad.Registration{o.registration("ingress.host=web.example.org")}, "--https="+secure, "--cert-dir="+dir, "--admin="+admin,
		"--proxy-protocol-from=127.0.0.0/8", "--head-timeout=1s")
	const v2 = "\r\n\r\n\x00\r\nQUIT\n"
	counted := 0
	for name, header := range map[string]string{
		"v1 without ports": "PROXY TCP4 192.0.2.7 10.0.0.1\r\n", "v1 of no family": "PROXY TCP5 192.0.2.7 10.0.0.1 5555 80\r\n", "v1 of a port too high": "PROXY TCP4 192.0.2.7 10.0.0.1 99999 80\r\n",
		"v1 that is cut": "PROXY TCP4 192.0.2.7 10", "v2 of version 1": v2 + "\x11\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x15\xb3\x00\x50",
		"v2 too short": v2 + "\x21\x11\x00\x04\xc0\x00\x02\x07", "v2 with a wrong checksum": v2 + "\x21\x11\x00\x13\xc0\x00\x02\x07\x0a\x00\x00\x01\x15\xb3\x00\x50\x03\x00\x04\x00\x00\x00\x01",
		"v2 that is cut": v2 + "\x21\x11\x00\x0c\xc0",
	} {
		for _, to := range []string{address, secure} {
			if answer := sendBytes(t, to, header); len(answer) > 0 {
				t.Errorf("%s: %q", name, answer)
			}
			counted++
		}
	}
	sendBytes(t, address, "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: web.example.org\r\nConnection: close\r\n\r\n")
	sendBytes(t, address, "GET / HTTP/1.1\r\nHost: web.example.org\r\nConnection: close\r\n\r\n")
	until(t, "the count", func() bool {
		_, metrics := get(admin, admin, "/metrics")
		return strings.Contains(metrics, fmt.Sprintf("serai_answers_total{reason=\"proxy-header\"} %d\n", counted)) && !strings.Contains(metrics, `serai_answers_total{reason="tls-handshake"}`)
	})
	if n := strings.Count(p.stderr.String(), "because its PROXY header is wrong"); n < 2 || n >= counted {
		t.Errorf("%d lines in the log of %d, want some for each listener", n, counted)
	}
}

package main

import (
	"fmt"
	"strings"
)

// guardReportsOf2026 are what was published of the guards of Traefik, Caddy, Envoy, oauth2-proxy and
// others in 2026, by the number of its advisory or issue.
func guardReportsOf2026() []guardReport {
	const told = "GET /verify?a=b HTTP/1.1\n|"
	// said is a request of a stranger who says something of the request that a service judges.
	said := func(name, not string, lines ...string) guardReport {
		return guardReport{report: report{name: name, send: with("sso.example.org", lines...), want: "200, on", seen: "!" + strings.ReplaceAll(not, "|", "|!")},
			asked: told + "!" + strings.ReplaceAll(not, "|", "|!")}
	}
	cases := []guardReport{
		said("traefik GHSA-6384-m2mw-rf54", "/public", "X-Forwarded-Prefix: /public", "X_Forwarded_Prefix: /public"),
		said("traefik GHSA-3q9r-p662-5j8m", "443|https", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443"),
		said("traefik GHSA-5m6w-wvh7-57vm", "https|trusted", "X_Forwarded_Proto: https", "X_Forwarded_Host: trusted.example"),
		said("traefik, dots in names", "root", "Remote.User: root", "remote.groups: root"),
		said("caddy GHSA-f59h-q822-g45g", "root", "Remote_User: root", "REMOTE_GROUPS: root"),
		said("oauth2-proxy 3506", "/public", "X-Forwarded-Uri: /public", "X-Original-Uri: /public"),
		{report: report{name: "envoy CVE-2021-32777", send: with("sso.example.org", "X-Api: a", "X-Api: b"), want: "200, on"}, asked: told + "X-Api: a\n|X-Api: b\n"},
		{report: report{name: "envoy CVE-2021-32779", send: "GET /x#/public HTTP/1.1\nHost: sso.example.org\n\n", want: "400 bad-target, end", seen: "-"}, asked: "-"},
		{report: report{name: "caddy 5430", send: to("sso.example.org") + websocket + "\n", alone: true, answer: switched + closes, want: `101, "hello"`, seen: "Remote-User: ann\n"}, asked: told + "!Upgrade|!Sec-WebSocket-Key"},
		{report: report{name: "oauth2_proxy 442", send: "POST /x HTTP/1.1\nHost: sso.example.org\nContent-Length: 3\n\nabc", want: "200, on"}, asked: told + "!Content-Length|!Transfer-Encoding"},
		{report: report{name: "haproxy 2565", send: "GET admin HTTP/1.1\nHost: sso.example.org\n\n", want: "400 bad-target, end", seen: "-"}, asked: "-"},
		{report: report{name: "traefik 9341", send: with("sso.example.org", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), want: "200, on", seen: "!h2c|!HTTP2"}, asked: told + "!h2c|!HTTP2"},
	}
	for _, path := range []string{"/api/../admin", "/api../admin", "/api%2e%2e/admin", "/api/..%2fadmin", "/api..;/admin", "/apiadmin"} {
		cases = append(cases, guardReport{report: report{name: "traefik GHSA-cxjq-mrr5-89rv " + path, send: fmt.Sprintf("GET %s HTTP/1.1\nHost: glued.example.org\n\n", path), want: "404 no-path, on", seen: "-"}})
	}
	for _, path := range []string{"/api/.", "/api/%2e/admin", "/api/./admin"} {
		cases = append(cases, guardReport{report: report{name: "traefik GHSA-6jwx-7vp4-9847 " + path, send: fmt.Sprintf("GET %s HTTP/1.1\nHost: glued.example.org\n\n", path), want: "400 bad-rewrite, on", seen: "-"}})
	}
	return cases
}

package router

import (
	"fmt"
	"strconv"
	"strings"

	"serai/upstream"
)

// edgeKeys are the keys for TLS with clients, for the first bytes of a connection to an
// instance, and for the number of requests that an instance gets at once.
func edgeKeys() []key {
	return []key{{
		Key: Key{Name: "tls", Value: "auto, off, only", Default: "auto", Example: "off",
			Meaning: "`auto`: a certificate is obtained where ACME is enabled; `off`: none is ordered; `only`: plain HTTP is redirected (`--https-only` does so for every route that is not `off`)"},
		parse: parseTLS,
		also:  []string{"https", "ssl", "cert", "certresolver"},
		route: func(o *RouteOptions) string { return tlsModes().word(o.TLS) },
	}, {
		named: once,
		Key: Key{Name: "hsts", Value: "VALUE", Default: "-", Example: "max-age=300",
			Meaning: "Strict-Transport-Security value sent on https answers"},
		parse: parseHSTS,
		also:  []string{"strict-transport-security"},
		route: func(o *RouteOptions) string { return o.HSTS },
	}, {
		Key: Key{Name: "proxy-protocol", Value: "v1, v2", Default: "off", Example: "v2",
			Meaning: "PROXY protocol header that is sent to the instance"},
		parse:  parseProxyProtocol,
		also:   []string{"proxyprotocol", "send-proxy"},
		member: func(_ *upstream.Member, t *upstream.Target) string { return proxyVersions().word(t.ProxyProtocol) },
	}, {
		Key: Key{Name: "max-inflight", Value: "NUMBER", Default: "none", Example: "7",
			Meaning: "requests in flight on one instance, over all routes of the service; a request beyond it goes to another instance, or waits in the order of arrival up to `wait`, and then gets 503"},
		parse: parseMaxInflight,
		also:  []string{"max-conn", "max-connections", "concurrency"},
		member: func(m *upstream.Member, _ *upstream.Target) string {
			if m.MaxInflight == 0 {
				return ""
			}
			return strconv.Itoa(m.MaxInflight)
		},
	}}
}

func tlsModes() wordList[TLSMode] {
	return wordList[TLSMode]{{"auto", TLSAuto}, {"off", TLSOff}, {"only", TLSOnly}}
}

func parseTLS(d *draft, value string) (f *flaw) {
	d.Options.TLS, f = tlsModes().parse(value)
	return f
}

func proxyVersions() wordList[uint8] { return wordList[uint8]{{"v1", 1}, {"v2", 2}} }

func parseProxyProtocol(d *draft, value string) (f *flaw) {
	d.Instance.ProxyProtocol, f = proxyVersions().parse(value)
	return f
}

// parseHSTS reads the hsts tag (RFC 6797 section 6.1).
func parseHSTS(d *draft, value string) *flaw {
	age := false
	for directive := range strings.SplitSeq(value, ";") {
		name, v, _ := strings.Cut(trim(directive), "=")
		if !isToken(name) || v != "" && !isToken(strings.Trim(v, `"`)) {
			return &flaw{fmt.Sprintf("%s is not a Strict-Transport-Security value", quote(value)), "max-age=31536000; includeSubDomains"}
		}
		if strings.EqualFold(name, "max-age") {
			_, err := strconv.ParseUint(strings.Trim(v, `"`), 10, 63)
			age = err == nil
		}
	}
	if !age {
		return &flaw{fmt.Sprintf("%s has no max-age in seconds", quote(value)), "max-age=31536000; includeSubDomains"}
	}
	d.Options.HSTS = value
	return nil
}

func parseMaxInflight(d *draft, value string) (f *flaw) {
	d.Instance.MaxInflight, f = number(value, 1, 1_000_000)
	return f
}

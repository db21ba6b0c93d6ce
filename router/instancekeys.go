package router

import (
	"fmt"
	"net/netip"
	"strings"

	"serai/upstream"
)

// instanceKeys are the keys that say how serai speaks to an instance.
func instanceKeys() []key {
	return []key{{
		Key: Key{Name: "scheme", Value: "http, https, h2c, grpc, h2, grpcs", Default: "http", Example: "https",
			Meaning: "protocol of the instance: HTTP/1; HTTP/1 over TLS; HTTP/2 over plain TCP, without an upgrade (`h2c`, `grpc`); HTTP/2 over TLS (`h2`, `grpcs`)"},
		parse: parseScheme,
		also:  []string{"protocol", "proto", "backend-protocol"},
		member: func(_ *upstream.Member, t *upstream.Target) string {
			if t.Scheme == upstream.HTTP {
				return ""
			}
			return schemes().word(t.Scheme)
		},
	}, connectKey(), {
		Key: Key{Name: "grpc-web", Value: "on, off", Default: "off", Example: "on", With: "scheme=grpc",
			Meaning: "`on`: gRPC-Web requests, binary or in base64, over HTTP/1 or HTTP/2, are translated to gRPC for the instance; for HTTP/2 schemes"},
		parse: parseGRPCWeb,
		also:  []string{"grpcweb"},
		route: func(o *RouteOptions) string {
			if !o.GRPCWeb {
				return ""
			}
			return "on"
		},
	}, {
		Key: Key{Name: "tls-verify", Value: "true, false", Default: "true", Example: "false", With: "scheme=https",
			Meaning: "whether the instance's certificate is verified; for schemes with TLS"},
		parse: parseTLSVerify,
		also:  []string{"insecure", "tls-skip-verify", "insecure-skip-verify"},
		member: func(_ *upstream.Member, t *upstream.Target) string {
			if !t.TLSInsecure {
				return ""
			}
			return "false"
		},
	}, {
		Key: Key{Name: "tls-name", Value: "NAME", Default: "the request's host", Example: "b.example.org", With: "scheme=https",
			Meaning: "name that is verified and sent as SNI; for schemes with TLS"},
		parse:  parseTLSName,
		also:   []string{"sni", "tls-server-name"},
		member: func(_ *upstream.Member, t *upstream.Target) string { return t.TLSName },
	}, {
		Key: Key{Name: "upstream-host", Value: "preserve, address, NAME", Default: "preserve", Example: "b.example.org:8080",
			Meaning: "Host header that is sent to the instance"},
		parse: parseUpstreamHost,
		also:  []string{"host-header", "pass-host-header"},
		member: func(m *upstream.Member, t *upstream.Target) string {
			if m.Host == t.Address {
				return "address"
			}
			return m.Host
		},
	}}
}

func schemes() wordList[upstream.Scheme] {
	return wordList[upstream.Scheme]{{"http", upstream.HTTP}, {"https", upstream.HTTPS}, {"h2c", upstream.H2C}, {"grpc", upstream.GRPC}, {"h2", upstream.H2}, {"grpcs", upstream.GRPCS}}
}

func parseScheme(d *draft, value string) (f *flaw) {
	d.Instance.Scheme, f = schemes().parse(value)
	return f
}

func parseGRPCWeb(d *draft, value string) (f *flaw) {
	d.Options.GRPCWeb, f = wordList[bool]{{"on", true}, {"off", false}}.parse(value)
	return f
}

func parseTLSVerify(d *draft, value string) *flaw {
	verify, f := wordList[bool]{{"true", true}, {"false", false}}.parse(value)
	d.Instance.TLSInsecure = !verify
	return f
}

func parseTLSName(d *draft, value string) *flaw {
	name, f := parseHostPattern(value)
	if f != nil || strings.Contains(name, "*") {
		return &flaw{fmt.Sprintf("%s is not a name that a certificate could have", quote(value)), ""}
	}
	d.Instance.TLSName = strings.Trim(name, "[]")
	return nil
}

func parseUpstreamHost(d *draft, value string) *flaw {
	switch value {
	case "preserve":
		return nil
	case "address":
		d.Instance.HostIsAddress = true
		return nil
	}
	if strings.Contains(value, "/") {
		return &flaw{fmt.Sprintf("%s is a URL or has a path", quote(value)), "only the host, with its port where it has one"}
	}
	host, port := value, ""
	if i := strings.LastIndexByte(value, ':'); i >= 0 && i > strings.LastIndexByte(value, ']') {
		host, port = value[:i], value[i:]
		if _, f := number(port[1:], 1, 65535); f != nil {
			return &flaw{fmt.Sprintf("%s has no valid port", quote(value)), ""}
		}
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	switch {
	case err == nil && a.Zone() == "":
		host = hostOfAddr(a)
	case !validHostName(host):
		return &flaw{fmt.Sprintf("%s is not a host name", quote(value)), ""}
	}
	d.Instance.Host = host + port
	return nil
}

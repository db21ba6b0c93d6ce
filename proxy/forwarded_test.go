package proxy

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// told returns the fields that an instance is told, as lines.
func told(t *testing.T, p *Proxy, peer string, secure bool, lines ...string) string {
	t.Helper()
	x := &Exchange{Peer: netip.MustParseAddrPort(peer), Local: netip.MustParseAddrPort("192.0.2.80:8080"), Secure: secure}
	text := "GET / HTTP/1.1\r\nHost: a.test\r\n" + strings.Join(append(lines, "", ""), "\r\n")
	if _, err := x.Head.ParseRequest([]byte(text), wire.DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	x.Route = &router.Route{Common: &router.Common{Options: &router.RouteOptions{}}}
	p.identifyClient(x)
	x.prepare()
	return string(wire.AppendRequest(nil, x.outgoing(&upstream.Member{})))
}

func TestForwardedFields(t *testing.T) {
	balancer, stranger := "10.0.0.1:1", "203.0.113.9:1"
	for name, c := range map[string]struct {
		peer   string
		secure bool
		fields []string // --trusted-fields
		sent   []string
		want   []string
		not    []string
	}{
		"a stranger": {peer: stranger,
			sent: []string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil", "X-Real-Ip: 6.6.6.6", "Forwarded: for=6.6.6.6"},
			want: []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 8080", "X-Real-Ip: 203.0.113.9", `Forwarded: for=203.0.113.9;host="a.test";proto=http`},
			not:  []string{"6.6.6.6", "evil"}},
		"a stranger over TLS": {peer: stranger, secure: true, sent: []string{"X-Forwarded-Proto: http"},
			want: []string{"X-Forwarded-Proto: https", "X-Forwarded-Port: 8080", `Forwarded: for=203.0.113.9;host="a.test";proto=https`}},
		"a balancer that ends TLS": {peer: balancer,
			sent: []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"},
			want: []string{"X-Forwarded-For: 203.0.113.9, 10.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 443", "X-Real-Ip: 203.0.113.9",
				`Forwarded: for=203.0.113.9;host="a.test";proto=https, for=10.0.0.1;host="a.test";proto=http`}},
		"a balancer passes a stranger's fields on": {peer: balancer,
			sent: []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http", "X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil", "X-Real-Ip: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Forwarded-Ssl: on"},
			want: []string{"X-Forwarded-Host: a.test", "X-Forwarded-Port: 8080", "X-Real-Ip: 203.0.113.9", `Forwarded: for=203.0.113.9;host="a.test";proto=http, for=10.0.0.1;host="a.test";proto=http`},
			not:  []string{"6.6.6.6", "evil", "Ssl"}},
		"fields that are trusted": {peer: balancer, fields: []string{"x-forwarded-host", " X-Forwarded-Port", "X-Forwarded-Prefix", "X-Real-IP", "Forwarded", "x-forwarded-ssl"},
			sent: []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: good", "X-Forwarded-Port: 4433", "X-Forwarded-Prefix: /p", "X-Real-Ip: 198.51.100.1", "Forwarded: for=198.51.100.1", "X-Forwarded-Ssl: on", "Front-End-Https: on"},
			want: []string{"X-Forwarded-Host: good", "X-Forwarded-Port: 4433", "X-Forwarded-Prefix: /p", "X-Real-Ip: 198.51.100.1", `Forwarded: for=198.51.100.1, for=10.0.0.1;host="a.test";proto=http`, "X-Forwarded-Ssl: on"},
			not:  []string{"Front-End"}},
		"a trusted host": {peer: balancer, fields: []string{"X-Forwarded-Host"}, sent: []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: good.test"},
			want: []string{"X-Forwarded-Host: good.test", `Forwarded: for=203.0.113.9;host="good.test";proto=http, for=10.0.0.1;host="a.test";proto=http`}},
		"a trusted host of nobody": {peer: balancer, fields: []string{"X-Forwarded-Host"}, sent: []string{"X-Forwarded-Host: good.test"},
			want: []string{"X-Forwarded-Host: good.test", `Forwarded: for=10.0.0.1;host="good.test";proto=http`}},
		"a trusted host with quotes": {peer: balancer, fields: []string{"X-Forwarded-Host"}, sent: []string{`X-Forwarded-Host: a";for=6.6.6.6;x="\b`},
			want: []string{`Forwarded: for=10.0.0.1;host="a\";for=6.6.6.6;x=\"\\b";proto=http`}},
		"trusted fields of a stranger": {peer: stranger, fields: []string{"X-Forwarded-Host", "X-Forwarded-Ssl"}, sent: []string{"X-Forwarded-Host: evil", "X-Forwarded-Ssl: on"},
			want: []string{"X-Forwarded-Host: a.test"}, not: []string{"evil", "Ssl"}},
		"a list of protocols": {peer: balancer, sent: []string{"X-Forwarded-Proto: https,http"}, want: []string{"X-Forwarded-Proto: https", "X-Forwarded-Port: 443"}},
		"the same twice":      {peer: balancer, sent: []string{"X-Forwarded-Proto: https,https"}, want: []string{"X-Forwarded-Proto: https"}},
		"wss":                 {peer: balancer, sent: []string{"X-Forwarded-Proto: WSS"}, want: []string{"X-Forwarded-Proto: https"}},
		"no protocol":         {peer: balancer, secure: true, sent: []string{"X-Forwarded-Proto: gopher"}, want: []string{"X-Forwarded-Proto: https", "X-Forwarded-Port: 8080"}},
		"a balancer that begins TLS": {peer: balancer, secure: true, sent: []string{"X-Forwarded-Proto: http"},
			want: []string{"X-Forwarded-Proto: http", "X-Forwarded-Port: 80"}},
		"nobody vouched for": {peer: balancer, sent: []string{"X-Forwarded-Proto: https"},
			want: []string{"X-Forwarded-For: 10.0.0.1", "X-Real-Ip: 10.0.0.1", `Forwarded: for=10.0.0.1;host="a.test";proto=https`}},
		"garbage, a port, IPv6 and IPv4 in IPv6": {peer: balancer, sent: []string{"X-Forwarded-For: evil;proto=x, 198.51.100.1:99", "X-Forwarded-For: 2001:db8::1,, ::ffff:203.0.113.9"},
			want: []string{"X-Real-Ip: 203.0.113.9",
				`Forwarded: for=unknown;host="a.test";proto=http, for=198.51.100.1, for="[2001:db8::1]", for=203.0.113.9, for=10.0.0.1;host="a.test";proto=http`}},
		"empty elements": {peer: balancer, sent: []string{"X-Forwarded-For: 203.0.113.9, ,", "X-Forwarded-For: ,"}, want: []string{"X-Real-Ip: 203.0.113.9"}},
		"named by Connection": {peer: balancer, fields: []string{"X-Forwarded-Host", "X-Forwarded-Ssl"},
			sent: []string{"Connection: x-forwarded-for, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Ssl", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: good", "X-Forwarded-Ssl: on"},
			want: []string{"X-Forwarded-For: 203.0.113.9, 10.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: good", "X-Forwarded-Ssl: on", "X-Real-Ip: 203.0.113.9"}},
		"named by a stranger's Connection": {peer: stranger, sent: []string{"X-Forwarded-For: 6.6.6.6", "Connection: X-Forwarded-For, X-Real-Ip, Forwarded", "X-Real-Ip: 6.6.6.6"},
			want: []string{"X-Forwarded-For: 203.0.113.9", "X-Real-Ip: 203.0.113.9"}, not: []string{"6.6.6.6"}},
		"what a content network says": {peer: stranger, sent: []string{"Cf-Connecting-Ipv6: 6::6", "Cf-Visitor: evil", "Fly-Client-Ip: 6.6.6.6", "X-Arr-Ssl: evil", "X-Forward-For: 6.6.6.6", "X-Forwarded-Uri: /evil", "X-Forwarded-Method: evil", "X-Original-Proto: evil"},
			not: []string{"6.6.6.6", "6::6", "evil"}},
		"lookalikes": {peer: balancer, sent: []string{"X_Forwarded_Ssl: on", "X.Original.Url: /admin", "True_Client_Ip: 6.6.6.6", "X_Serai_Hops: 1"}, not: []string{"Ssl", "admin", "6.6.6.6", "X_Serai"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Proxy{options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
			var err error
			if p.trusted, err = newTrustedFields(c.fields); err != nil {
				t.Fatal(err)
			}
			head := told(t, p, c.peer, c.secure, c.sent...)
			for _, line := range c.want {
				if !strings.Contains(head, "\r\n"+line+"\r\n") {
					t.Errorf("the instance is not told %q:\n%s", line, head)
				}
			}
			for _, not := range c.not {
				if strings.Contains(head, not) {
					t.Errorf("the instance is told %q:\n%s", not, head)
				}
			}
		})
	}
}

// TestVouchedFields: every name is dropped from strangers and stands in the
// document, and nothing else does.
func TestVouchedFields(t *testing.T) {
	text, err := os.ReadFile("../docs/forwarding.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "<!-- vouched -->")
	list, _, _ = strings.Cut(list, "<!-- /vouched -->")
	var documented []string
	for i, word := range strings.Split(list, "`") {
		if i%2 == 1 {
			documented = append(documented, strings.ToLower(word))
		}
	}
	names := wire.ProxyOnlyNames()
	if slices.Sort(names); !slices.Equal(names, documented) {
		t.Errorf("documented are %v,\nnot %v", documented, names)
	}
	p := &Proxy{}
	for _, name := range names {
		if head := told(t, p, "203.0.113.9:1", false, name+": evil"); strings.Contains(head, "evil") {
			t.Errorf("the instance is told a stranger's %s", name)
		}
	}
	if _, err := newTrustedFields([]string{"Host"}); err == nil {
		t.Error("any field may be trusted")
	}
}

func TestIsAddress(t *testing.T) {
	for host, want := range map[string]bool{
		"": true, "10.0.0.1": true, "10.0.0.1:80": true, "10.0.0.1:": true, "10.0.0.1.": true, "10.0.0.1.:80": true, "[::1]": true, "[::1]:80": true, "[2001:db8::1]:": true,
		"a.test": false, "a.test:80": false, "10.0.0.1.example.org": false, "1": false,
	} {
		if isAddress([]byte(host)) != want {
			t.Errorf("%q is an address: %v", host, !want)
		}
	}
}

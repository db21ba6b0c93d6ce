package proxy

import (
	"bufio"
	"fmt"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// tells returns what an instance is told of a client, nil when the request is
// refused.
func tells(t *testing.T, p *Proxy, peer string, lines string) textproto.MIMEHeader {
	x := &Exchange{Peer: netip.MustParseAddrPort(peer), Local: netip.MustParseAddrPort("192.0.2.80:8080")}
	if _, err := x.Head.ParseRequest([]byte("GET / HTTP/1.1\r\nHost: a.test\r\n"+lines+"\r\n"), wire.DefaultLimits()); err != nil {
		return nil
	}
	x.Route = &router.Route{Common: &router.Common{Options: &router.RouteOptions{}}}
	p.identifyClient(x)
	x.prepare()
	head := wire.AppendRequest(nil, x.outgoing(&upstream.Member{}))
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(string(head))))
	if _, err := r.ReadLine(); err != nil {
		t.Fatal(err)
	}
	told, err := r.ReadMIMEHeader()
	if err != nil {
		t.Fatalf("net/textproto: %v in %q", err, head)
	}
	delete(told, "X-Request-Id") // is new for each request
	return told
}

// forwardedElement is one of Forwarded.
type forwardedElement map[string]string

// parseForwarded reads a Forwarded field by the grammar of RFC 7239 section 4, and
// nothing but it.
func parseForwarded(s string) (all []forwardedElement, err error) {
	token := func() (v string) {
		n := strings.IndexFunc(s, func(r rune) bool {
			return !(r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
		})
		if n < 0 {
			n = len(s)
		}
		v, s = s[:n], s[n:]
		return v
	}
	element := forwardedElement{}
	for {
		name := strings.ToLower(token())
		if name == "" || !strings.HasPrefix(s, "=") {
			return nil, fmt.Errorf("no parameter at %q", s)
		}
		if _, twice := element[name]; twice {
			return nil, fmt.Errorf("%s twice in one element", name)
		}
		s = s[1:]
		value := ""
		if rest, quoted := strings.CutPrefix(s, `"`); quoted {
			s = rest
			for !strings.HasPrefix(s, `"`) {
				s = strings.TrimPrefix(s, `\`)
				if s == "" {
					return nil, fmt.Errorf("a quote without an end")
				}
				value, s = value+s[:1], s[1:]
			}
			s = s[1:]
		} else if value = token(); value == "" {
			return nil, fmt.Errorf("no value at %q", s)
		}
		element[name] = value
		if rest, more := strings.CutPrefix(s, ";"); more {
			s = rest
			continue
		}
		all, element = append(all, element), forwardedElement{}
		if s == "" {
			return all, nil
		}
		rest, more := strings.CutPrefix(s, ", ")
		if !more {
			return nil, fmt.Errorf("neither element nor end at %q", s)
		}
		s = rest
	}
}

// nodeOf is how Forwarded is to call an element of X-Forwarded-For (RFC 7239 section
// 7.4): an address without its port, brackets and zone, or unknown.
func nodeOf(element string) string {
	a, err := netip.ParseAddr(element)
	if err != nil {
		// With a port, which may be missing behind brackets.
		if strings.HasPrefix(element, "[") && strings.HasSuffix(element, "]") {
			element += ":0"
		}
		p, portErr := netip.ParseAddrPort(element)
		if a, err = p.Addr(), portErr; err != nil {
			return "unknown"
		}
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// FuzzForwarded: whatever a trusted peer sends, Forwarded is well formed and says the
// same as the X-Forwarded fields beside it; and nothing that a stranger sends about
// itself makes any difference.
func FuzzForwarded(f *testing.F) {
	for _, lines := range []string{
		"", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 2001:db8::1, ::ffff:10.0.0.2", "X-Forwarded-Proto: https,http",
		"X-Forwarded-For: evil\";for=6.6.6.6, [::1]:80,, 1.2.3.4:99,", "X-Forwarded-For: fe80::1%\"eth0\";proto=x", "X-Forwarded-Host: evil\", for=6.6.6.6;x=\"",
		"X-Forwarded-Host: a\\", "Forwarded: for=6.6.6.6;proto=https", "X-Real-Ip: 6.6.6.6\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Ssl: on",
		"X-Forwarded-For: unknown, _secret", "X-Forwarded-For: x, [::], [2001:db8::1], [fe80::1%eth0], [1.2.3.4], []", "X-Forwarded-For: 1.2.3.4\tx", "Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: WSS \r\nX-Forwarded-Proto: http",
	} {
		f.Add(lines, false)
		f.Add(lines, true)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, lines string, host bool) {
		if lines != "" {
			lines += "\r\n"
		}
		p := &Proxy{options: Options{TrustedProxies: trusted}}
		var names []string
		if host {
			names = append(names, "X-Forwarded-Host")
		}
		var err error
		if p.trusted, err = newTrustedFields(names); err != nil {
			t.Fatal(err)
		}
		told := tells(t, p, "10.0.0.1:1", lines)
		if told == nil {
			return
		}
		checkAgreement(t, told)

		about := []string{"Forwarded", "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"}
		of, bare := tells(t, p, "203.0.113.9:1", lines), tells(t, p, "203.0.113.9:1", "")
		for _, name := range about {
			if !slices.Equal(of[name], bare[name]) {
				t.Errorf("a stranger is believed: %s is %q, want %q", name, of[name], bare[name])
			}
		}
		for _, name := range wire.ProxyOnlyNames() {
			if v := of.Values(name); v != nil {
				t.Errorf("a stranger's %s is sent on: %q", name, v)
			}
		}
	})
}

// checkAgreement: the fields that tell of the client stand once, are well formed and
// say the same.
func checkAgreement(t *testing.T, told textproto.MIMEHeader) {
	one := func(name string) string {
		if len(told[name]) != 1 {
			t.Fatalf("%s is %q", name, told[name])
		}
		return told[name][0]
	}
	elements, err := parseForwarded(one("Forwarded"))
	if err != nil {
		t.Fatalf("Forwarded is malformed: %v in %q", err, one("Forwarded"))
	}
	var chain []string
	for element := range strings.SplitSeq(one("X-Forwarded-For"), ",") {
		if element = strings.Trim(element, " \t"); element != "" {
			chain = append(chain, nodeOf(element))
		}
	}
	var nodes []string
	for _, e := range elements {
		nodes = append(nodes, e["for"])
	}
	if !slices.Equal(chain, nodes) {
		t.Errorf("X-Forwarded-For has %q, Forwarded %q", chain, nodes)
	}
	if first := elements[0]; first["proto"] != one("X-Forwarded-Proto") || first["host"] != one("X-Forwarded-Host") {
		t.Errorf("Forwarded says %v, X-Forwarded-Proto %q, -Host %q", first, one("X-Forwarded-Proto"), one("X-Forwarded-Host"))
	}
	if last := elements[len(elements)-1]; last["for"] != "10.0.0.1" {
		t.Errorf("the last element is %v, not the peer", last)
	}
	client, err := netip.ParseAddr(one("X-Real-Ip"))
	if err != nil {
		t.Fatalf("X-Real-Ip: %v", err)
	}
	// The client is the last that is not trusted, and behind it no word is unreadable.
	want := "10.0.0.1"
	for _, node := range slices.Backward(chain) {
		if node == "unknown" {
			break
		}
		if want = node; !strings.HasPrefix(node, "10.") {
			break
		}
	}
	if nodeOf(client.String()) != want {
		t.Errorf("X-Real-Ip is %s, of %q it should be %s", client, chain, want)
	}
	if proto, port := one("X-Forwarded-Proto"), one("X-Forwarded-Port"); proto != "http" && proto != "https" || (proto == "https") != (port == "443") {
		t.Errorf("X-Forwarded-Proto is %s, -Port %s", proto, port)
	}
}

// FuzzTrustedFields: names in any case and with blanks around them are taken; what
// no balancer vouches for is not, and nothing is believed that is not named.
func FuzzTrustedFields(f *testing.F) {
	all := []string{"forwarded", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-real-ip"}
	all = append(all, wire.ProxyOnlyNames()...)
	for _, text := range []string{"", "X-Forwarded-Host", " x-real-ip ,Forwarded", "Host", "X-Forwarded-Ssl\r\nX-Evil", "x-forwarded-for,X-Forwarded-Proto", "Cookie", "X_Forwarded_Host", "x-forwarded-\u212aost", strings.Join(all, ",")} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		given := strings.Split(text, ",")
		named := make(map[string]bool)
		good := true
		for _, name := range given {
			name = strings.ToLower(strings.TrimSpace(name))
			named[name] = true
			good = good && (slices.Contains(all, name) || name == "x-forwarded-for" || name == "x-forwarded-proto")
		}
		b, err := newTrustedFields(given)
		if (err == nil) != good {
			t.Fatalf("%q: %v", text, err)
		}
		if err != nil {
			return
		}
		p := &Proxy{options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, trusted: b}
		for _, name := range all {
			// A word that serai makes of nothing.
			line := strings.ToUpper(name) + ": for=vouched\r\n"
			if got := strings.Contains(strings.Join(tells(t, p, "10.0.0.1:1", line).Values(name), ","), "vouched"); got != named[name] {
				t.Errorf("%q: a trusted peer's %s is sent on: %v", text, name, got)
			}
			if strings.Contains(strings.Join(tells(t, p, "203.0.113.9:1", line).Values(name), ","), "vouched") {
				t.Errorf("%q: a stranger's %s is sent on", text, name)
			}
		}
	})
}

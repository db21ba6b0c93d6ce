package proxy

import (
	"net/netip"
	"testing"

	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// BenchmarkForwardHead reads a request's head and writes it as an instance gets it.
func BenchmarkForwardHead(b *testing.B) {
	const line = "GET /api/items?page=2 HTTP/1.1\r\nHost: shop.example.org\r\n"
	const browser = line + "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\nAccept: text/html,application/xhtml+xml\r\n" +
		"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nCookie: session=0123456789abcdef\r\nConnection: keep-alive\r\n"
	strips := upstream.Member{Policies: policy.ForInstance(&policy.OfInstance{Strip: "/api"})}
	for _, c := range []struct {
		name, text, peer string
		member           upstream.Member
	}{
		{"bare", line, "203.0.113.9:1", upstream.Member{}},
		{"browser", browser, "203.0.113.9:1", upstream.Member{}},
		{"balancer", browser + "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n", "10.0.0.1:1", upstream.Member{}},
		{"strip", browser, "203.0.113.9:1", strips},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := &Proxy{options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
			p.trusted, _ = newTrustedFields(nil)
			x := &Exchange{Peer: netip.MustParseAddrPort(c.peer), Local: netip.MustParseAddrPort("192.0.2.80:8080")}
			x.Route = &router.Route{Common: &router.Common{Options: &router.RouteOptions{}}}
			text, limits := []byte(c.text+"\r\n"), wire.DefaultLimits()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Head.ParseRequest(text, limits); err != nil {
					b.Fatal(err)
				}
				p.identifyClient(x)
				x.prepare()
				x.attempted.Scratch = wire.AppendRequest(x.attempted.Scratch[:0], x.outgoing(&c.member))
				x.forwarding.reset()
			}
		})
	}
}

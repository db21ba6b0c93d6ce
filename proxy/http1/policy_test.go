package http1_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"serai/proxy"
)

// TestEveryAnswerHasItsPolicies: whoever answers, the route's policies for answers
// have a part in it, once. What an instance says itself is replaced. A sticky cookie
// comes with an instance's answers alone, and nothing with what is interim.
func TestEveryAnswerHasItsPolicies(t *testing.T) {
	const hsts = "Strict-Transport-Security: max-age=300"
	get := []string{"GET / HTTP/1.1"}
	for name, c := range map[string]struct {
		tags    []string
		request []string
		answer  string // of the instance; empty where it is not asked
		status  string
		own     bool
	}{
		"200":             {request: get, answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: "200"},
		"behind a 103":    {request: get, answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: "200"},
		"one of its own":  {request: get, answer: "HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\nStrict-Transport-Security: max-age=2\r\nContent-Length: 0\r\n\r\n", status: "200"},
		"204":             {request: get, answer: "HTTP/1.1 204 No Content\r\n\r\n", status: "204"},
		"304":             {request: get, answer: "HTTP/1.1 304 Not Modified\r\n\r\n", status: "304"},
		"500":             {request: get, answer: "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", status: "500"},
		"chunked":         {request: get, answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: "200"},
		"101":             {request: []string{"GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: echo"}, answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", status: "101"},
		"a redirection":   {tags: []string{"ingress.redirect=https://new.example.org{path}"}, request: get, status: "308", own: true},
		"no instance":     {tags: []string{"ingress.wait=0s", "ingress.weight=0"}, request: get, status: "503", own: true},
		"a bad answer":    {request: get, answer: "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", status: "502", own: true},
		"a body too long": {tags: []string{"ingress.max-body=1"}, request: []string{"POST / HTTP/1.1", "Content-Length: 2"}, status: "413", own: true},
		"a loop":          {request: []string{"GET / HTTP/1.1", "X-Serai-Hops: 100"}, status: "508", own: true},
	} {
		t.Run(name, func(t *testing.T) {
			trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			k, o := web(t, settings{proxy: proxy.Options{TrustedProxies: trusted, Via: "serai"}}, append(c.tags, "ingress.hsts=max-age=300", "ingress.sticky=stay")...)
			client := k.dial()
			client.send(slices.Concat(c.request, []string{"Host: web.example.org", "X-Forwarded-Proto: https", ""})...)
			if strings.HasPrefix(c.status, "413") {
				client.write("ab")
			}
			if c.answer != "" {
				in := o.next()
				in.head()
				in.write(c.answer)
			}
			head := client.head()
			if strings.HasPrefix(head, "HTTP/1.1 103 ") {
				if strings.Contains(head, hsts) || strings.Contains(head, "Set-Cookie") {
					t.Errorf("an interim answer has policies: %q", head)
				}
				head = client.head()
			}
			if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") {
				t.Fatalf("answered %q, want %s", head, c.status)
			}
			if n := strings.Count(strings.ToLower(head), "strict-transport-security"); n != 1 || !has(head, hsts) {
				t.Errorf("not exactly one %q: %q", hsts, head)
			}
			if n := strings.Count(head, "Set-Cookie: stay="); n > 1 || (n == 1) == c.own {
				t.Errorf("%d sticky cookies: %q", n, head)
			}
			if via := strings.Contains(head, "Via: 1.1 serai"); via == c.own {
				t.Errorf("Via is there: %v: %q", via, head)
			}
		})
	}
}

// TestStripOfAnInstanceThatCameLate: a request that waits is sent as the instance
// asks that it is given, not as those before it did.
func TestStripOfAnInstanceThatCameLate(t *testing.T) {
	k, o := web(t, settings{}, "ingress.path=/api", "ingress.wait=2m")
	k.service("web", nil)
	c := k.dial()
	c.send("GET /api/x?y HTTP/1.1", "Host: web.example.org", "")
	until(t, "the request to wait", func() bool { return k.proxy.Inflight() == 1 })
	k.service("web", []string{o.address}, "ingress.host=web.example.org", "ingress.path=/api", "ingress.strip=/api")
	in := o.next()
	if head := in.head(); !strings.HasPrefix(head, "GET /x?y HTTP/1.1\r\n") || !has(head, "X-Forwarded-Prefix: /api") {
		t.Errorf("the instance got %q", head)
	}
	in.ok("")
	c.status("GET", 200, "")
}

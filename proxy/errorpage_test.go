package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/discovery"
	"serai/policy"
	"serai/proxy"
	"serai/router"
	"serai/upstream"
)

// pageServer is a service with pages. Each request gets what answer writes; the
// connection stays open if that returns true.
type pageServer struct {
	address string
	answer  func(r *http.Request, c net.Conn) (stays bool)

	mu   sync.Mutex
	asks []*http.Request
}

// sends answers with bytes.
func sends(answer string) func(*http.Request, net.Conn) bool {
	return func(_ *http.Request, c net.Conn) bool {
		_, err := io.WriteString(c, answer)
		return err == nil
	}
}

// aPage is an answer with a page.
func aPage(body string, fields ...string) string {
	return "HTTP/1.1 200 OK\r\n" + strings.Join(append(fields, fmt.Sprint("Content-Length: ", len(body)), "", ""), "\r\n") + body
}

func newPageServer(t *testing.T, answer func(*http.Request, net.Conn) bool) *pageServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &pageServer{address: l.Addr().String(), answer: answer}
	var serving sync.WaitGroup
	var open sync.Map
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			serving.Go(func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					s.mu.Lock()
					s.asks = append(s.asks, r)
					s.mu.Unlock()
					if !s.answer(r, c) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		serving.Wait()
	})
	return s
}

// asked returns the requests so far.
func (s *pageServer) asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asks)
}

// place is a service of a node with error pages.
type place struct {
	service, address string
	tags             []string
}

// errorsOf are tags of the service web.
func errorsOf(statuses string, more ...string) []string {
	return append([]string{"ingress.host=" + host, "ingress.errors=" + statuses, "ingress.errors-service=pages", "ingress.wait=100ms"}, more...)
}

// newPlaces has several services, with one instance each.
func newPlaces(t *testing.T, o proxy.Options, catalog *policy.Catalog, all ...place) *node {
	t.Helper()
	ro := speaksHTTP1()
	ro.IdleTimeout = long
	n := &node{registry: upstream.NewRegistry(ro), router: router.NewRouter()}
	if o.Pages.Timeout == 0 {
		o.Pages.Timeout = long
	}
	b, err := router.NewBuilder(n.router, router.Options{Registry: n.registry, Catalog: catalog})
	if err != nil {
		t.Fatal(err)
	}
	o.Router = n.router
	if n.proxy, err = proxy.New(o); err != nil {
		t.Fatal(err)
	}
	services := make(map[discovery.Key]*discovery.Service)
	dead := make(map[string]bool)
	for i, p := range all {
		namespace, name, other := strings.Cut(p.service, "/")
		if !other {
			namespace, name = "default", p.service
		}
		key := discovery.Key{Namespace: namespace, Name: name}
		a := netip.MustParseAddrPort(p.address)
		if c, err := net.Dial("tcp", p.address); err != nil {
			dead[p.address] = true
		} else {
			c.Close()
		}
		services[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{{ID: p.address + p.service, Service: name, Namespace: namespace, Alloc: p.address,
			Address: a.Addr().String(), Port: int(a.Port()), Tags: p.tags, Created: uint64(i + 1), Modified: uint64(i + 1)}}}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.registry.Run(ctx) })
	n.stop = sync.OnceFunc(func() {
		n.proxy.Close()
		b.Close()
		cancel()
		running.Wait()
	})
	t.Cleanup(n.stop)
	b.Update(&discovery.Snapshot{Index: 1, Services: services})
	until(t, "ready instances", func() bool {
		return !slices.ContainsFunc(n.registry.All(), func(e *upstream.Endpoint) bool {
			return e.State() != upstream.Ready && !dead[e.Target().Address]
		})
	})
	return n
}

// overEngines plays once over each engine.
func overEngines(t *testing.T, play func(t *testing.T, start func(*testing.T, *node) engine)) {
	for name, start := range engines {
		t.Run(name, func(t *testing.T) { play(t, start) })
	}
}

const notFound = "HTTP/1.1 404 Not Here\r\nContent-Type: application/octet-stream\r\nContent-Encoding: gzip\r\nContent-Language: de\r\nContent-Disposition: attachment\r\nETag: \"a\"\r\n" +
	"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nAccept-Ranges: bytes\r\nTrailer: X-Sum\r\nContent-Security-Policy: default-src 'self'\r\nCache-Control: max-age=7\r\nRetry-After: 9\r\n" +
	"WWW-Authenticate: Bearer\r\nSet-Cookie: own=1\r\nX-Own: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nown\r\n0\r\nX-Sum: 1\r\n\r\n"

// TestErrorPage: the body comes from the service with the pages, and what describes it;
// all else is the instance's. The service with the pages learns nothing of the client.
func TestErrorPage(t *testing.T) {
	overEngines(t, func(t *testing.T, start func(*testing.T, *node) engine) {
		pages := newPageServer(t, sends(aPage("<h1>404</h1>", "Content-Type: text/html", "Content-Language: en", "Set-Cookie: page=1", "ETag: \"page\"",
			"X-Serai-Reason: x", "Connection: X-Hop", "X-Hop: 1", "Location: /elsewhere", "Retry-After: 1", "Cache-Control: no-store", "Strict-Transport-Security: max-age=1", "X-Page: 1")))
		web := newInstance(t)
		n := newPlaces(t, proxy.Options{}, nil, place{"web", web.address, errorsOf("404", "ingress.errors-path=/e/{status}?code={status}", "ingress.response-set=Content-Type: text/plain", "ingress.response-set=X-Frame-Options: DENY")},
			place{"pages", pages.address, []string{"ingress.host=pages.test", "ingress.path=/e", "ingress.strip=/e", "ingress.request-set=X-Set: 1"}})
		r := get()
		r.fields = append(r.fields, "Cookie: secret=1", "Authorization: Bearer secret", "X-Forwarded-For: 6.6.6.6", "Accept-Encoding: gzip", "Range: bytes=0-1", "If-None-Match: \"page\"", "X-Client: 1", "TE: trailers")
		c := start(t, n).open(t, r)
		in := web.next()
		in.head()
		in.send(notFound)
		h := c.head()
		body, trailers, whole := c.rest()
		if h.status != 404 || body != "<h1>404</h1>" || !whole || len(trailers) > 0 {
			t.Errorf("answered %d %q, %q, whole %v", h.status, body, trailers, whole)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/html", "Content-Language": "en", "Content-Length": "12",
			"Content-Encoding": "", "Content-Disposition": "", "ETag": "", "Last-Modified": "", "Accept-Ranges": "", "Trailer": "", "Transfer-Encoding": "",
			"Content-Security-Policy": "default-src 'self'", "Cache-Control": "max-age=7", "Retry-After": "9", "WWW-Authenticate": "Bearer", "Set-Cookie": "own=1", "X-Own": "1",
			"X-Serai-Reason": "", "X-Hop": "", "Location": "", "Strict-Transport-Security": "", "X-Page": "", "X-Frame-Options": "DENY",
		} {
			if got := strings.Join(h.fields.Values(name), "|"); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		asked := pages.asked()
		if len(asked) != 1 || asked[0].Method != "GET" || asked[0].RequestURI != "/404?code=404" || asked[0].Host != "pages.test" {
			t.Fatalf("the pages were asked for %v", asked)
		}
		got := asked[0].Header
		for _, name := range []string{"Cookie", "Authorization", "Accept-Encoding", "Range", "If-None-Match", "X-Client", "X-Forwarded-For", "X-Real-Ip"} {
			if told := got.Values(name); len(told) > 0 { // nor are they sent empty
				t.Errorf("the pages are told %s: %q", name, told)
			}
		}
		if strings.Contains(fmt.Sprint(got), "6.6.6.6") || strings.Contains(fmt.Sprint(got), "4711") || strings.Contains(fmt.Sprint(got), "127.0.0.1") || got.Get("X-Set") != "1" || got.Get("X-Serai-Hops") != "1" {
			t.Errorf("the pages are told %v", got)
		}
		if s := n.proxy.Pages(); s.Shown != 1 || s.Missed != 0 || s.Fetched != 1 || s.Failed != 0 || s.Pages != 1 {
			t.Errorf("counted %+v", s)
		}
	})
}

// TestErrorPagesOfSerai: serai's own answers to a route's requests show pages as well, and
// keep their reason.
func TestErrorPagesOfSerai(t *testing.T) {
	for name, c := range map[string]struct {
		tags    []string
		request request
		status  int
		reason  string
		fields  map[string]string
	}{
		"no connection":   {nil, get(), 503, "no-instance", map[string]string{"Retry-After": "1"}},
		"a denied client": {[]string{"ingress.deny=127.0.0.0/8"}, get(), 403, "ip-denied", nil},
		"a long body":     {[]string{"ingress.max-body=1"}, post(4, "body"), 413, "body-too-large", nil},
	} {
		t.Run(name, func(t *testing.T) {
			overEngines(t, func(t *testing.T, start func(*testing.T, *node) engine) {
				pages := newPageServer(t, sends(aPage("the page", "Content-Type: text/html")))
				n := newPlaces(t, proxy.Options{}, nil, place{"web", unanswered(t), errorsOf("4xx,5xx", c.tags...)}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
				h := answered(t, start(t, n).open(t, c.request), c.status, "the page")
				carries(t, h, "X-Serai-Reason", c.reason)
				carries(t, h, "Content-Type", "text/html")
				carries(t, h, "Cache-Control", "no-store")
				for name, value := range c.fields {
					carries(t, h, name, value)
				}
				if asked := pages.asked(); len(asked) != 1 || asked[0].RequestURI != fmt.Sprintf("/%d.html", c.status) {
					t.Errorf("the pages were asked for %v", asked)
				}
			})
		})
	}
	t.Run("failures of the instance", func(t *testing.T) {
		overEngines(t, func(t *testing.T, start func(*testing.T, *node) engine) {
			pages := newPageServer(t, sends(aPage("the page")))
			web := newInstance(t)
			n := newPlaces(t, proxy.Options{}, nil, place{"web", web.address, errorsOf("502,504")}, place{"slow", web.address, errorsOf("504", "ingress.path=/slow", "ingress.timeout=100ms")},
				place{"pages", pages.address, []string{"ingress.host=pages.test"}})
			e := start(t, n)
			c := e.open(t, post(4, "body"))
			web.next().Close()
			h := answered(t, c, 502, "the page")
			carries(t, h, "X-Serai-Reason", "upstream-closed")
			if h.fields["Content-Type"] != nil {
				t.Errorf("the page, which has no type, gets %v", h.fields)
			}
			slow := post(4, "body")
			slow.target = "/slow"
			c = e.open(t, slow)
			web.next().head()
			carries(t, answered(t, c, 504, "the page"), "X-Serai-Reason", "upstream-timeout")
		})
	})
}

// TestNoErrorPage: answers whose status has none, and clients that are programs, get what
// they get without.
func TestNoErrorPage(t *testing.T) {
	overEngines(t, func(t *testing.T, start func(*testing.T, *node) engine) {
		pages := newPageServer(t, sends(aPage("the page")))
		web := newInstance(t)
		n := newPlaces(t, proxy.Options{}, nil, place{"web", web.address, errorsOf("404,5xx")}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
		e := start(t, n)
		with := func(field string) request {
			r := get()
			r.fields = append(r.fields, field)
			return r
		}
		upgrade := get()
		upgrade.upgrade = "websocket"
		for _, c := range []struct {
			request request
			status  int
		}{{get(), 200}, {get(), 206}, {get(), 301}, {get(), 403}, {get(), 600}, {with("Accept: application/json, */*"), 404}, {with("X-Serai-Page: 1"), 404}, {upgrade, 404}} {
			k := e.open(t, c.request)
			in := web.next()
			in.head()
			in.send(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 3\r\nConnection: close\r\n\r\nown", c.status))
			in.Close()
			answered(t, k, c.status, "own")
		}
		if asked := pages.asked(); len(asked) > 0 {
			t.Errorf("a page was asked for: %v", asked[0].URL)
		}
		// A HEAD has the length of the page, and no body.
		k := e.open(t, request{method: "HEAD", target: "/", fields: []string{id}})
		in := web.next()
		in.head()
		in.send("HTTP/1.1 404 X\r\nContent-Length: 1000\r\n\r\n")
		h := answered(t, k, 404, "")
		carries(t, h, "Content-Length", "8")
		if asked := pages.asked(); len(asked) != 1 || asked[0].Method != "GET" {
			t.Errorf("the pages were asked %v", asked)
		}
	})
}

// TestErrorPagesOfGRPC: clients of gRPC get trailers.
func TestErrorPagesOfGRPC(t *testing.T) {
	pages := newPageServer(t, sends(aPage("the page")))
	n := newPlaces(t, proxy.Options{}, nil, place{"web", unanswered(t), errorsOf("4xx,5xx", "ingress.deny=127.0.0.0/8")}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
	call := request{method: "POST", target: "/a.B/C", fields: []string{id, "Content-Type: application/grpc", "TE: trailers"}, length: 5, body: "\x00\x00\x00\x00\x00"}
	carries(t, answered(t, listen2(t, n).open(t, call), 200, ""), "Grpc-Status", "7")
	if asked := pages.asked(); len(asked) > 0 {
		t.Errorf("a page was asked for: %v", asked[0].URL)
	}
}

// TestPagesThatCannotBeHad: whatever the service with the pages does, the client gets the
// plain answer, whole and soon.
func TestPagesThatCannotBeHad(t *testing.T) {
	endless := func(head string) func(*http.Request, net.Conn) bool {
		return func(_ *http.Request, c net.Conn) bool {
			io.WriteString(c, head)
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
					return false
				}
			}
		}
	}
	hang := func(*http.Request, net.Conn) bool { return true }
	for name, answer := range map[string]func(*http.Request, net.Conn) bool{
		"closes":              func(*http.Request, net.Conn) bool { return false },
		"hangs":               hang,
		"stops in the middle": sends("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"),
		"breaks off": func(_ *http.Request, c net.Conn) bool {
			sends("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")(nil, c)
			return false
		},
		"breaks off in chunks": func(_ *http.Request, c net.Conn) bool {
			sends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n")(nil, c)
			return false
		},
		"trickles": func(_ *http.Request, c net.Conn) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "x"); err != nil {
					return false
				}
				time.Sleep(20 * time.Millisecond)
			}
		},
		"endless": endless("HTTP/1.1 200 OK\r\n\r\n"),
		"endless in chunks": func(_ *http.Request, c net.Conn) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "4\r\nsome\r\n"); err != nil {
					return false
				}
			}
		},
		"endless error":   endless("HTTP/1.1 500 X\r\n\r\n"),
		"too large":       sends(aPage(strings.Repeat("x", 5000))),
		"an endless head": endless("HTTP/1.1 200 OK\r\nX: "),
		"no HTTP":         sends("SSH-2.0-x\r\n"),
		"two lengths":     sends("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nsome"),
		"500":             sends("HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\nsome"),
		"404":             sends("HTTP/1.1 404 X\r\nContent-Length: 4\r\n\r\nsome"),
		"a redirect":      sends("HTTP/1.1 302 X\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"),
		"204":             sends("HTTP/1.1 204 X\r\n\r\n"),
		"206":             sends("HTTP/1.1 206 X\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/9\r\n\r\nsome"),
		"304":             sends("HTTP/1.1 304 X\r\n\r\n"),
		"101":             sends("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
		"1xx for ever": func(_ *http.Request, c net.Conn) bool {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 X\r\n\r\n"); err != nil {
					return false
				}
			}
		},
		"empty":   sends(aPage("")),
		"encoded": sends(aPage("some", "Content-Encoding: gzip")),
	} {
		t.Run(name, func(t *testing.T) {
			pages := newPageServer(t, answer)
			web := newInstance(t)
			n := newPlaces(t, proxy.Options{Pages: proxy.PageOptions{MaxBytes: 4096, Timeout: 300 * time.Millisecond}}, nil,
				place{"web", web.address, errorsOf("404")}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
			e := engines["HTTP/1"](t, n)
			for range 2 {
				c := e.open(t, get())
				in := web.next()
				in.head()
				in.send("HTTP/1.1 404 X\r\nContent-Type: text/own\r\nContent-Length: 3\r\nConnection: close\r\n\r\nown")
				in.Close()
				carries(t, answered(t, c, 404, "own"), "Content-Type", "text/own")
			}
			until(t, "the end of the fetch", func() bool { s := n.proxy.Pages(); return s.Failed >= 1 && s.Failed == s.Fetched })
			if s := n.proxy.Pages(); s.Shown > 0 || s.Missed != 2 || s.Bytes > 1024 {
				t.Errorf("counted %+v", s)
			}
		})
	}
	t.Run("dead", func(t *testing.T) {
		n := newPlaces(t, proxy.Options{}, nil, place{"web", unanswered(t), errorsOf("503")}, place{"pages", unanswered(t), []string{"ingress.host=pages.test"}})
		refused(t, engines["HTTP/1"](t, n).open(t, get()), 503, "no-instance")
	})
	t.Run("a path that its route does not take", func(t *testing.T) {
		pages, web := newPageServer(t, sends(aPage("the page"))), newInstance(t)
		n := newPlaces(t, proxy.Options{}, nil, place{"web", web.address, errorsOf("404")}, place{"pages", pages.address, []string{"ingress.host=pages.test", "ingress.path=/e"}})
		c := engines["HTTP/1"](t, n).open(t, get())
		in := web.next()
		in.head()
		in.send(notFound)
		carries(t, answered(t, c, 404, "own"), "Content-Encoding", "gzip")
		if asked := pages.asked(); len(asked) > 0 {
			t.Errorf("the pages were asked for %v", asked[0].URL)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		n := newPlaces(t, proxy.Options{}, nil, place{"web", unanswered(t), errorsOf("503")})
		refused(t, engines["HTTP/1"](t, n).open(t, get()), 503, "no-instance")
		if s := n.proxy.Pages(); s.Missed != 1 || s.Fetched != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

// refuser refuses all who do not send a field.
type refuser struct{}

func (refuser) Request(r policy.Request, reply *policy.Reply) bool {
	if len(r.Received().Fields) > 1 {
		return false
	}
	reply.Status, reply.Reason, reply.Detail = 401, "auth-required", "who are you?"
	return true
}
func (refuser) Explain() string { return "auth: refuses" }

// loginPage answers with a page of its own, as a service that lets clients in.
type loginPage struct{}

func (loginPage) Request(_ policy.Request, reply *policy.Reply) bool {
	reply.Status, reply.Reason, reply.Detail, reply.Body = 401, "auth-denied", "x", []byte("the login")
	return true
}
func (loginPage) Explain() string { return "auth: shows a login" }

// TestGuardedPages: a page behind a guard is for those who have passed that guard, and no
// others; what a service says that refuses a client is no error of the route.
func TestGuardedPages(t *testing.T) {
	auth := refuser{}
	catalog := policy.NewCatalog(nil, []*policy.Auth{{Name: "corp", Check: auth}, {Name: "login", Check: loginPage{}}}, nil)
	for name, c := range map[string]struct {
		web, pages []string
		known      bool
		status     int
		reason     string
		shown      bool
	}{
		"an open route, a guarded page": {pages: []string{"ingress.auth=corp"}, status: 503, reason: "no-instance"},
		"the same guard, passed":        {web: []string{"ingress.auth=corp"}, pages: []string{"ingress.auth=corp"}, known: true, status: 503, reason: "no-instance", shown: true},
		"the same guard, not passed":    {web: []string{"ingress.auth=corp"}, pages: []string{"ingress.auth=corp"}, status: 401, reason: "auth-required"},
		"an open page for the refused":  {web: []string{"ingress.auth=corp"}, status: 401, reason: "auth-required", shown: true},
		"another guard":                 {web: []string{"ingress.allow=127.0.0.0/8"}, pages: []string{"ingress.allow=127.0.0.1"}, status: 503, reason: "no-instance"},
		"one guard of two":              {web: []string{"ingress.allow=127.0.0.0/8"}, pages: []string{"ingress.allow=127.0.0.0/8", "ingress.auth=corp"}, known: true, status: 503, reason: "no-instance"},
		"more guards than the page":     {web: []string{"ingress.allow=127.0.0.0/8", "ingress.auth=corp"}, pages: []string{"ingress.allow=127.0.0.0/8"}, known: true, status: 503, reason: "no-instance", shown: true},
		"a denied client":               {web: []string{"ingress.deny=127.0.0.0/8"}, pages: []string{"ingress.deny=127.0.0.0/8"}, status: 403, reason: "ip-denied"},
		"a rate of the page":            {pages: []string{"ingress.rate=1/h"}, status: 503, reason: "no-instance", shown: true},
		"a closed page":                 {pages: []string{"ingress.allow=x"}, status: 503, reason: "no-instance"},
		"a page behind a redirect":      {pages: []string{"ingress.redirect=https"}, status: 503, reason: "no-instance", shown: true},
	} {
		t.Run(name, func(t *testing.T) {
			pages := newPageServer(t, sends(aPage("the page")))
			n := newPlaces(t, proxy.Options{}, catalog, place{"web", unanswered(t), errorsOf("4xx,5xx", c.web...)}, place{"pages", pages.address, append([]string{"ingress.host=pages.test"}, c.pages...)})
			r := request{method: "GET", target: "/"}
			if c.known {
				r.fields = []string{"X-Key: 1", "X-Other: 1"}
			}
			h := answered(t, (&memory{proxy: n.proxy}).open(t, r), c.status, "*")
			carries(t, h, "X-Serai-Reason", c.reason)
			if s := n.proxy.Pages(); (s.Shown == 1) != c.shown || len(pages.asked()) != int(s.Fetched) || !c.shown && s.Fetched > 0 {
				t.Errorf("counted %+v, asked %v", s, pages.asked())
			}
		})
	}
	pages := newPageServer(t, sends(aPage("the page")))
	n := newPlaces(t, proxy.Options{}, catalog, place{"web", unanswered(t), errorsOf("4xx", "ingress.auth=login")}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
	answered(t, (&memory{proxy: n.proxy}).open(t, get()), 401, "the login")
	if len(pages.asked()) > 0 {
		t.Error("a page was asked for in place of a login")
	}
}

// TestPagesOfPages: no page is asked for in order to answer with one, also where the
// service with the pages leads back to serai.
func TestPagesOfPages(t *testing.T) {
	t.Run("of itself", func(t *testing.T) {
		own := newPageServer(t, sends("HTTP/1.1 404 X\r\nContent-Length: 3\r\n\r\nown"))
		n := newPlaces(t, proxy.Options{}, nil, place{"web", own.address, []string{"ingress.host=" + host, "ingress.errors=4xx"}})
		answered(t, engines["HTTP/1"](t, n).open(t, get()), 404, "own")
		if asked := own.asked(); len(asked) != 2 {
			t.Errorf("it was asked %d times, want for what the client wants and for the page", len(asked))
		}
	})
	t.Run("in a loop", func(t *testing.T) {
		var back string
		loop := newPageServer(t, func(r *http.Request, c net.Conn) bool {
			to, err := net.Dial("tcp", back)
			if err != nil {
				return false
			}
			defer to.Close()
			r.Host = host
			r.Write(to)
			res, err := http.ReadResponse(bufio.NewReader(to), r)
			if err != nil {
				return false
			}
			defer res.Body.Close()
			res.Write(c)
			return false
		})
		n := newPlaces(t, proxy.Options{}, nil, place{"web", unanswered(t), errorsOf("4xx,5xx")}, place{"pages", loop.address, []string{"ingress.host=pages.test"}})
		e := listen1(t, n)
		back = e.address
		began := time.Now()
		refused(t, e.open(t, get()), 503, "no-instance")
		if asked := loop.asked(); len(asked) != 1 || time.Since(began) > long/2 {
			t.Errorf("the loop was asked %d times, for %v", len(asked), time.Since(began))
		}
	})
}

// TestFloodOfErrors: many errors at once cost the service with the pages one request, and
// then none while the page is kept; a service that hangs delays the first ones only.
func TestFloodOfErrors(t *testing.T) {
	const many = 60
	flood := func(t *testing.T, n *node, status int, body string) {
		e := engines["memory"](t, n)
		var all sync.WaitGroup
		for range many {
			k := e.open(t, get())
			all.Go(func() {
				h := k.head()
				if got, _, _ := k.rest(); h == nil || h.status != status || body != "*" && got != body {
					t.Errorf("answered %+v %q", h, got)
				}
			})
		}
		all.Wait()
	}
	t.Run("one page", func(t *testing.T) {
		asked := make(chan struct{})
		pages := newPageServer(t, func(_ *http.Request, c net.Conn) bool { <-asked; return sends(aPage("the page"))(nil, c) })
		n := newPlaces(t, proxy.Options{Pages: proxy.PageOptions{Keep: time.Hour, Timeout: long}}, nil,
			place{"web", unanswered(t), errorsOf("5xx")}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
		go func() {
			for n.proxy.Inflight() < many {
				time.Sleep(time.Millisecond)
			}
			close(asked)
		}()
		flood(t, n, 503, "the page")
		flood(t, n, 503, "the page")
		if got := pages.asked(); len(got) != 1 {
			t.Errorf("the pages were asked %d times", len(got))
		}
	})
	t.Run("a service that hangs", func(t *testing.T) {
		pages := newPageServer(t, func(*http.Request, net.Conn) bool { return true })
		n := newPlaces(t, proxy.Options{Pages: proxy.PageOptions{Keep: time.Hour, Timeout: 100 * time.Millisecond}}, nil,
			place{"web", unanswered(t), errorsOf("5xx")}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
		flood(t, n, 503, "*")
		until(t, "the end of the fetch", func() bool { return n.proxy.Pages().Failed >= 1 })
		// From now on nobody waits: with pages that never come, and a bound that never
		// ends, the test would not either.
		flood(t, n, 503, "*")
		if s := n.proxy.Pages(); s.Missed != 2*many {
			t.Errorf("counted %+v", s)
		}
	})
}

// TestBodyThatIsNotShown: the instance's own body is read if it is short, so that its
// connection serves again; else the connection is closed, and the client does not wait.
func TestBodyThatIsNotShown(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		again  bool
	}{
		"short":             {"HTTP/1.1 404 X\r\nContent-Length: 3\r\n\r\nown", true},
		"short, in chunks":  {"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nown\r\n0\r\n\r\n", true},
		"none":              {"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", true},
		"long":              {"HTTP/1.1 404 X\r\nContent-Length: 1000000\r\n\r\nown", false},
		"until the end":     {"HTTP/1.1 404 X\r\n\r\nown", false},
		"never whole":       {"HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\nown", false},
		"endless in chunks": {"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n", 80), false},
	} {
		t.Run(name, func(t *testing.T) {
			pages := newPageServer(t, sends(aPage("the page")))
			web := newInstance(t)
			n := newPlaces(t, proxy.Options{}, nil, place{"web", web.address, errorsOf("404")}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
			e := engines["HTTP/1"](t, n)
			k := e.open(t, get())
			in := web.next()
			in.head()
			in.send(c.answer)
			answered(t, k, 404, "the page")
			until(t, "the end of the request", func() bool { return n.proxy.Inflight() == 0 })
			if !c.again {
				in.ended()
				return
			}
			k = e.open(t, get())
			in.head() // over the same connection
			in.send(fine)
			answered(t, k, 200, "fine")
		})
	}
}

// TestClientLeavesWhileAPageIsAskedFor: its request ends, and the page comes for others.
func TestClientLeavesWhileAPageIsAskedFor(t *testing.T) {
	asked, go_ := make(chan struct{}, 1), make(chan struct{})
	pages := newPageServer(t, func(_ *http.Request, c net.Conn) bool {
		asked <- struct{}{}
		<-go_
		return sends(aPage("the page"))(nil, c)
	})
	n := newPlaces(t, proxy.Options{Pages: proxy.PageOptions{Timeout: long}}, nil, place{"web", unanswered(t), errorsOf("5xx")}, place{"pages", pages.address, []string{"ingress.host=pages.test"}})
	e := engines["HTTP/1"](t, n)
	c := e.open(t, get())
	<-asked
	c.leave()
	until(t, "the end of the request", func() bool { return n.proxy.Inflight() == 0 })
	close(go_)
	answered(t, e.open(t, get()), 503, "the page")
	if got := pages.asked(); len(got) != 1 {
		t.Errorf("the pages were asked %d times", len(got))
	}
}

package proxy_test

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"serai/discovery"
	"serai/proxy"
	"serai/router"
	"serai/upstream"
)

// asks is one request, to which the instance, where it is asked, says fine and what is
// given.
func asks(t *testing.T, e engine, i *instance, r request, says ...string) *head {
	t.Helper()
	c := e.open(t, r)
	in := i.next()
	in.head()
	in.send(append([]string{"HTTP/1.1 200 OK", "Connection: close"}, append(says, "Content-Length: 4", "", "fine")...)...)
	in.Close()
	return answered(t, c, 200, "fine")
}

// carries holds an answer to the values of a field.
func carries(t *testing.T, h *head, name string, want ...string) {
	t.Helper()
	if got := h.fields.Values(name); !slices.Equal(got, want) {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func upgrading(fields ...string) request {
	r := get()
	r.upgrade, r.fields = "echo", append(r.fields, fields...)
	return r
}

func preflight(origin, method string) request {
	return request{method: "OPTIONS", target: "/", fields: []string{id, "Origin: " + origin, "Access-Control-Request-Method: " + method}}
}

// guards are the scenes of the policies that keep requests away.
var guards = []scene{
	{name: "a guarded path in another spelling", tags: []string{"ingress.admin.host=a.test", "ingress.admin.path=/admin", "ingress.admin.deny=127.0.0.1"}, reason: "disguised-path", play: func(t *testing.T, e engine, i *instance) {
		r := get()
		r.target = "/x/..//%61dmin;y/z"
		refused(t, e.open(t, r), 400, "disguised-path")
	}},
	{name: "allowed", tags: []string{"ingress.allow=127.0.0.0/8", "ingress.deny=127.0.0.2"}, play: func(t *testing.T, e engine, i *instance) {
		asks(t, e, i, get())
	}},
	{name: "not allowed", tags: []string{"ingress.allow=192.0.2.0/24"}, reason: "ip-denied", play: func(t *testing.T, e engine, i *instance) {
		r := get()
		r.fields = append(r.fields, "X-Forwarded-For: 192.0.2.1", "X-Real-Ip: 192.0.2.1", "Forwarded: for=192.0.2.1")
		refused(t, e.open(t, r), 403, "ip-denied")
	}},
	{name: "denied, with a body", tags: []string{"ingress.deny=127.0.0.1"}, reason: "ip-denied", play: func(t *testing.T, e engine, i *instance) {
		refused(t, e.open(t, post(4, "body")), 403, "ip-denied")
	}},
	{name: "a tunnel that is denied", tags: []string{"ingress.deny=127.0.0.0/8"}, reason: "ip-denied", play: func(t *testing.T, e engine, i *instance) {
		refused(t, e.open(t, upgrading()), 403, "ip-denied")
	}},
	{name: "before a redirect", tags: []string{"ingress.deny=127.0.0.0/8", "ingress.redirect=https"}, reason: "ip-denied", play: func(t *testing.T, e engine, i *instance) {
		refused(t, e.open(t, get()), 403, "ip-denied")
	}},
	{name: "a rate", tags: []string{"ingress.rate=2/h", "ingress.hsts=max-age=9"}, reason: "rate-limited", play: func(t *testing.T, e engine, i *instance) {
		h := asks(t, e, i, get(), `RateLimit: "day";r=1`)
		carries(t, h, "RateLimit-Policy", `"serai";q=2;w=3600`)
		carries(t, h, "RateLimit", `"day";r=1`, `"serai";r=1;t=1800`)
		asks(t, e, i, get())
		c := e.open(t, upgrading("X-Forwarded-For: 192.0.2.1"))
		h = c.head()
		if _, _, whole := c.rest(); h == nil || h.status != 429 || !whole {
			t.Fatalf("answered %v", h)
		}
		carries(t, h, "X-Serai-Reason", "rate-limited")
		wait := h.fields.Get("Retry-After")
		carries(t, h, "RateLimit", `"serai";r=0;t=`+wait)
		if wait != "1800" && wait != "1799" {
			t.Errorf("Retry-After is %q", wait)
		}
	}},
	{name: "a rate, and an instance that fails", tags: []string{"ingress.rate=2/h"}, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, get())
		in := i.next()
		in.head()
		in.Close()
		in = i.next() // the same request again, which is not counted again
		in.head()
		in.send(fine)
		carries(t, answered(t, c, 200, "fine"), "RateLimit", `"serai";r=1;t=1800`)
	}},
	{name: "a preflight", tags: []string{"ingress.cors=https://a.example.org", "ingress.cors-methods=PUT", "ingress.cors-max-age=10m", "ingress.cors-credentials=true"}, reason: "cors-preflight", play: func(t *testing.T, e engine, i *instance) {
		h := answered(t, e.open(t, preflight("https://a.example.org", "PUT")), 204, "")
		carries(t, h, "Access-Control-Allow-Origin", "https://a.example.org")
		carries(t, h, "Access-Control-Allow-Credentials", "true")
		carries(t, h, "Access-Control-Allow-Methods", "PUT")
		carries(t, h, "Access-Control-Max-Age", "600")
		carries(t, h, "Vary", "Origin")
		carries(t, h, "Content-Length")
	}},
	{name: "a preflight that is refused", tags: []string{"ingress.cors=https://a.example.org"}, reason: "cors-denied", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, preflight("https://a.example.org.evil.test", "GET"))
		h := answered(t, c, 403, "*")
		carries(t, h, "X-Serai-Reason", "cors-denied")
		carries(t, h, "Access-Control-Allow-Origin")
		carries(t, h, "Vary", "Origin")
	}},
	{name: "an answer to another origin", tags: []string{"ingress.cors=https://a.example.org", "ingress.cors-expose=X-Own"}, play: func(t *testing.T, e engine, i *instance) {
		r := get()
		r.fields = append(r.fields, "Origin: https://a.example.org")
		h := asks(t, e, i, r, "Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: X-Secret", "Vary: Accept-Encoding")
		carries(t, h, "Access-Control-Allow-Origin", "https://a.example.org")
		carries(t, h, "Access-Control-Expose-Headers", "x-own")
		carries(t, h, "Vary", "Accept-Encoding", "Origin")
	}},
	{name: "an error to another origin", tags: []string{"ingress.cors=https://a.example.org"}, reason: "bad-answer", play: func(t *testing.T, e engine, i *instance) {
		r := get()
		r.fields = append(r.fields, "Origin: https://a.example.org")
		c := e.open(t, r)
		in := i.next()
		in.head()
		in.send("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
		h := answered(t, c, 502, "*")
		carries(t, h, "Access-Control-Allow-Origin", "https://a.example.org")
		carries(t, h, "Vary", "Origin")
	}},
	{name: "a tunnel of another origin", tags: []string{"ingress.cors=https://a.example.org"}, timing: true, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, upgrading("Origin: https://a.example.org"))
		in := i.next()
		in.head()
		in.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello")
		h := c.head()
		if h == nil || h.status != 101 && h.status != 200 {
			t.Fatalf("answered %v", h)
		}
		carries(t, h, "Access-Control-Allow-Origin")
		c.read("hello")
		in.Close()
		c.finish()
		c.rest()
	}},
	{name: "closed", tags: []string{"ingress.allow=127.0.0.0/33"}, reason: "guard-refused", play: func(t *testing.T, e engine, i *instance) {
		refused(t, e.open(t, get()), 503, "guard-refused")
	}},
	{name: "a closed tunnel", tags: []string{"ingress.rate=much"}, reason: "guard-refused", play: func(t *testing.T, e engine, i *instance) {
		refused(t, e.open(t, upgrading()), 503, "guard-refused")
	}},
}

// TestGuardsBehindProxies: the client is the one that a trusted proxy names, and nobody
// where it names none.
func TestGuardsBehindProxies(t *testing.T) {
	const guard = "ingress.allow=192.0.2.0/24,127.0.0.0/8"
	for name, c := range map[string]struct {
		trusted string
		fields  []string
		passes  bool
	}{
		"a client of the proxy":          {"127.0.0.0/8", []string{"X-Forwarded-For: 192.0.2.1"}, true},
		"another client":                 {"127.0.0.0/8", []string{"X-Forwarded-For: 198.51.100.1"}, false},
		"an IPv4-mapped one":             {"127.0.0.0/8", []string{"X-Forwarded-For: ::ffff:192.0.2.1"}, true},
		"with a port":                    {"127.0.0.0/8", []string{"X-Forwarded-For: 192.0.2.1:4711"}, true},
		"one that pretends":              {"127.0.0.0/8", []string{"X-Forwarded-For: 192.0.2.1, 198.51.100.1"}, false},
		"one that pretends, in two":      {"127.0.0.0/8", []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 198.51.100.1"}, false},
		"one that pretends, by others":   {"127.0.0.0/8", []string{"X-Real-Ip: 192.0.2.1", "Forwarded: for=192.0.2.1", "X-Forwarded-For: 198.51.100.1"}, false},
		"nobody":                         {"127.0.0.0/8", []string{"X-Forwarded-For: unknown"}, false},
		"nobody behind one who pretends": {"127.0.0.0/8", []string{"X-Forwarded-For: 192.0.2.1, unknown"}, false},
		"the proxy itself":               {"127.0.0.0/8", nil, true},
		"a peer that is not trusted":     {"10.0.0.0/8", []string{"X-Forwarded-For: 198.51.100.1"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			i := newInstance(t)
			n := newNode(t, proxy.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix(c.trusted)}}, speaksHTTP1(), []string{i.address}, guard)
			e := engine(listen1(t, n))
			r := get()
			r.fields = append(r.fields, c.fields...)
			if c.passes {
				asks(t, e, i, r)
				return
			}
			refused(t, e.open(t, r), 403, "ip-denied")
		})
	}
}

// TestRateIsOfTheClient: what a stranger writes into X-Forwarded-For makes it no other
// client.
func TestRateIsOfTheClient(t *testing.T) {
	i := newInstance(t)
	n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{i.address}, "ingress.rate=1/h")
	e := engine(listen1(t, n))
	asks(t, e, i, get())
	for _, spoofed := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"} {
		r := get()
		r.fields = append(r.fields, "X-Forwarded-For: "+spoofed)
		refused(t, e.open(t, r), 429, "rate-limited")
	}
}

// TestGuardsWithoutAddress: a request over something without addresses, such as a unix
// socket, passes no address list, and is counted together with the others of that kind.
func TestGuardsWithoutAddress(t *testing.T) {
	for tag, want := range map[string]string{"ingress.allow=0.0.0.0/1,128.0.0.0/1,::/1,8000::/1": "ip-denied", "ingress.deny=192.0.2.1": "ip-denied", "ingress.rate=1/h": "rate-limited"} {
		i := newInstance(t)
		n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{i.address}, tag)
		e := &memory{proxy: n.proxy, peerless: true}
		if want == "rate-limited" {
			asks(t, e, i, get())
		}
		c := e.open(t, get())
		if h := c.head(); h.fields.Get("X-Serai-Reason") != want {
			t.Errorf("%s: answered %d %v", tag, h.status, h.fields)
		}
	}
}

// TestGuardsOfGRPC: a refusal has trailers alone, with the status that stands for the one
// of HTTP.
func TestGuardsOfGRPC(t *testing.T) {
	for _, c := range []struct {
		tag, reason, status string
		more                []string
	}{
		{"ingress.deny=127.0.0.0/8", "ip-denied", "7", nil},
		{"ingress.rate=1/h", "rate-limited", "14", []string{"Retry-After", "RateLimit", "RateLimit-Policy"}},
		{"ingress.allow=nobody", "guard-refused", "14", nil},
	} {
		i := newInstance(t)
		n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{i.address}, c.tag)
		e := engine(listen2(t, n))
		call := request{method: "POST", target: "/a.B/C", fields: []string{id, "Content-Type: application/grpc", "TE: trailers"}, length: 5, body: "\x00\x00\x00\x00\x00"}
		if c.reason == "rate-limited" {
			k := e.open(t, call)
			in := i.next()
			in.head()
			in.send(fine)
			answered(t, k, 200, "fine")
		}
		k := e.open(t, call)
		h := answered(t, k, 200, "")
		carries(t, h, "Grpc-Status", c.status)
		carries(t, h, "Content-Type", "application/grpc")
		carries(t, h, "X-Serai-Reason", c.reason)
		for _, name := range c.more {
			if h.fields.Get(name) == "" {
				t.Errorf("%s: %s is missing in %v", c.tag, name, h.fields)
			}
		}
	}
}

// deployed is a node whose only instance comes later.
type deployed struct {
	*node
	builder *router.Builder
	index   uint64
}

// deploy replaces the instances by one with these tags.
func (d *deployed) deploy(address string, tags ...string) {
	d.index++
	a, key := netip.MustParseAddrPort(address), discovery.Key{Namespace: "default", Name: "web"}
	d.builder.Update(&discovery.Snapshot{Index: d.index, Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{{
		ID: address, Service: "web", Namespace: "default", Alloc: address, Address: a.Addr().String(), Port: int(a.Port()),
		Tags: append([]string{"ingress.host=" + host}, tags...), Created: d.index, Modified: d.index,
	}}}}})
}

func newDeployed(t *testing.T) *deployed {
	t.Helper()
	d := &deployed{node: &node{registry: upstream.NewRegistry(speaksHTTP1()), router: router.NewRouter()}}
	var err error
	if d.builder, err = router.NewBuilder(d.router, router.Options{Registry: d.registry}); err != nil {
		t.Fatal(err)
	}
	if d.proxy, err = proxy.New(proxy.Options{Router: d.router}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.registry.Run(ctx) }()
	t.Cleanup(func() { d.builder.Close(); cancel(); <-done })
	return d
}

// unanswered is an address at which nothing listens, and nobody else can while the test
// runs.
func unanswered(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port)).String()
}

// TestWaitingPassesNoGuard: a request that waits while a deploy gives its route a guard is
// not handed to the guarded instance without it. One that the guard, or the same one as
// before, lets through is counted once.
func TestWaitingPassesNoGuard(t *testing.T) {
	const wait = "ingress.wait=1m"
	for name, c := range map[string]struct {
		before, after []string
		status        int
		reason, rate  string
	}{
		"a guard that refuses":    {nil, []string{"ingress.deny=127.0.0.0/8"}, 403, "ip-denied", ""},
		"a guard that lets pass":  {nil, []string{"ingress.allow=127.0.0.0/8"}, 200, "", ""},
		"another guard":           {[]string{"ingress.allow=127.0.0.0/8"}, []string{"ingress.allow=192.0.2.1"}, 403, "ip-denied", ""},
		"the same rate":           {[]string{"ingress.rate=1/h"}, []string{"ingress.rate=1/h"}, 200, "", `"serai";r=0;t=3600`},
		"a redirect":              {nil, []string{"ingress.redirect=https"}, 308, "redirect", ""},
		"a guard that is no more": {[]string{"ingress.allow=127.0.0.0/8"}, nil, 200, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, i := newDeployed(t), newInstance(t)
			d.deploy(unanswered(t), append(c.before, wait)...)
			k := (&memory{proxy: d.proxy}).open(t, get())
			route := d.router.Current().Routes()[0]
			until(t, "the request to wait", func() bool { return route.Pool.Room().Waiting() == 1 })
			d.deploy(i.address, append(c.after, wait)...)
			if c.status == 200 {
				in := i.next()
				in.head()
				in.send(fine)
				h := answered(t, k, 200, "fine")
				if c.rate != "" {
					carries(t, h, "RateLimit", c.rate)
				}
			} else {
				h := k.head()
				if h == nil || h.status != c.status || h.fields.Get("X-Serai-Reason") != c.reason {
					t.Fatalf("answered %+v", h)
				}
				k.rest()
			}
			until(t, "the place to be free", func() bool {
				return d.proxy.Inflight() == 0 && !slices.ContainsFunc(d.registry.All(), func(e *upstream.Endpoint) bool { return e.Inflight() > 0 })
			})
			if c.status != 200 && len(i.recorded()) > 0 {
				t.Error("the instance was asked")
			}
		})
	}
}

// TestWaitingGetsItsCookie: an instance that came while a request waited gives it the
// cookie that leads back to it.
func TestWaitingGetsItsCookie(t *testing.T) {
	d, i := newDeployed(t), newInstance(t)
	d.deploy(unanswered(t), "ingress.wait=1m", "ingress.sticky=seat")
	k := (&memory{proxy: d.proxy}).open(t, get())
	route := d.router.Current().Routes()[0]
	until(t, "the request to wait", func() bool { return route.Pool.Room().Waiting() == 1 })
	d.deploy(i.address, "ingress.wait=1m", "ingress.sticky=seat")
	in := i.next()
	in.head()
	in.send(fine)
	h := answered(t, k, 200, "fine")
	pool := d.router.Current().Routes()[0].Pool
	name, value := pool.StickyCookie(&proxy.Exchange{}, pool.Members()[0])
	carries(t, h, "Set-Cookie", name+"="+value+"; Path=/; HttpOnly; SameSite=Lax")
}

// TestReasonsOfPolicies: what policies answer with is in the table of reasons.
func TestReasonsOfPolicies(t *testing.T) {
	for code, status := range map[string]int{"ip-denied": http.StatusForbidden, "rate-limited": http.StatusTooManyRequests, "cors-denied": http.StatusForbidden, "cors-preflight": http.StatusNoContent, "guard-refused": http.StatusServiceUnavailable,
		"auth-required": http.StatusUnauthorized, "auth-denied": http.StatusForbidden, "auth-busy": http.StatusTooManyRequests, "auth-unavailable": http.StatusServiceUnavailable, "loop": http.StatusLoopDetected} {
		if !slices.ContainsFunc(proxy.AllReasons(), func(r proxy.ReasonEntry) bool {
			return r.Code == code && r.Status == status && strings.Contains(r.Meaning, " ")
		}) {
			t.Errorf("there is no reason %s with %d", code, status)
		}
	}
}

package proxy_test

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"serai/proxy"
)

// TestEngines has the same requests made through each engine. What the client
// gets is the same, and so is every byte that reaches the instance: what a route does
// cannot differ between them.
func TestEngines(t *testing.T) { playAll(t, slices.Concat(suite, guards)) }

func playAll(t *testing.T, scenes []scene) {
	for _, c := range scenes {
		t.Run(c.name, func(t *testing.T) {
			seen := make(map[string][]string)
			for name, start := range engines {
				t.Run(name, func(t *testing.T) {
					i := newInstance(t)
					n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{i.address}, c.tags...)
					e := start(t, n)
					c.play(t, e, i)
					until(t, "the end of the request", func() bool { return n.proxy.Inflight() == 0 })
					if c.reason != "" && n.proxy.Reasons()[c.reason] != 1 {
						t.Errorf("the reasons are %v, want one %s", n.proxy.Reasons(), c.reason)
					}
					n.stop()
					seen[name] = i.recorded()
				})
			}
			if t.Failed() || c.timing {
				return
			}
			for name := range engines {
				if a, b := normal(seen["HTTP/1"]), normal(seen[name]); !slices.Equal(a, b) {
					t.Errorf("the instance sees over HTTP/1\n%q\nand over %s\n%q", a, name, b)
				}
			}
		})
	}
}

var ports = regexp.MustCompile(`X-Forwarded-Port: \d+`)

// names are those of fields, and of trailers.
var names = regexp.MustCompile(`(?m)^[A-Za-z0-9-]+:`)

// normal makes equal what each connection has of its own, and the case of names, of
// which HTTP/2 has no upper one.
func normal(seen []string) []string {
	same := slices.Clone(seen)
	for i := range same {
		same[i] = ports.ReplaceAllString(same[i], "X-Forwarded-Port: PORT")
		same[i] = names.ReplaceAllStringFunc(same[i], strings.ToLower)
	}
	return same
}

// scene is one request and its answer.
type scene struct {
	name   string
	tags   []string
	reason string // that is counted
	timing bool   // what the instance sees depends on who is faster
	play   func(t *testing.T, e engine, i *instance)
}

// id is a request's own: the one made for it would be random.
const id = "X-Request-Id: 4711"

func get() request { return request{method: "GET", target: "/a?b=c", fields: []string{id}} }

// post has a body of so many bytes, or of a length that is not told, of which some
// are here.
func post(length int, body string) request {
	return request{method: "POST", target: "/", fields: []string{id}, length: length, body: body}
}

// answered holds a client to a whole answer.
func answered(t *testing.T, c client, status int, body string) *head {
	t.Helper()
	h := c.head()
	if h == nil {
		t.Fatal("there is no answer")
	}
	got, _, whole := c.rest()
	if h.status != status || body != "*" && got != body || !whole {
		t.Fatalf("answered %d %q, whole %v; want %d %q", h.status, got, whole, status, body)
	}
	return h
}

// refused holds a client to an answer of serai's own.
func refused(t *testing.T, c client, status int, reason string) {
	t.Helper()
	if h := answered(t, c, status, "*"); h.fields.Get("X-Serai-Reason") != reason {
		t.Errorf("refused for %q, want %q", h.fields.Get("X-Serai-Reason"), reason)
	}
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"

// bodiless is a request whose answer ends with its head.
func bodiless(method, answer string) func(*testing.T, engine, *instance) {
	return func(t *testing.T, e engine, i *instance) {
		c := e.open(t, request{method: method, target: "/", fields: []string{id}})
		in := i.next()
		in.head()
		in.send(answer)
		h := c.head()
		if body, _, whole := c.rest(); body != "" || !whole || method == "HEAD" && h.fields.Get("Content-Length") != "1000" {
			t.Errorf("answered %d %v %q, whole %v", h.status, h.fields, body, whole)
		}
	}
}

var suite = []scene{
	{name: "fields", tags: []string{"ingress.strip=/api", "ingress.sticky=stay", "ingress.path=/api"}, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, request{method: "GET", target: "/api/x?y", fields: []string{id, "X-Forwarded-For: 6.6.6.6", "Keep-Alive: timeout=5", "X-Own: kept", "TE: trailers", "X-Serai-Hops: 2"}})
		in := i.next()
		in.head()
		in.send("HTTP/1.1 200 OK", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=9", "X-Kept: 1", "Content-Length: 2", "", "ok")
		h := answered(t, c, 200, "ok")
		if h.fields.Get("X-Hop")+h.fields.Get("Keep-Alive") != "" || h.fields.Get("X-Kept") != "1" || !strings.HasPrefix(h.fields.Get("Set-Cookie"), "stay=") {
			t.Errorf("the answer has %v", h.fields)
		}
	}},
	{name: "a body", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, post(4, "body"))
		in := i.next()
		in.head()
		in.read("body")
		in.send(fine)
		answered(t, c, 200, "fine")
	}},
	{name: "a body in pieces, with trailers", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, post(-1, "first"))
		in := i.next()
		in.head()
		in.read("5\r\nfirst\r\n")
		c.send("second")
		in.read("6\r\nsecond\r\n")
		c.finish("X-Sum: 1", "Content-Length: 7")
		in.read("0\r\nX-Sum: 1\r\n\r\n")
		in.send(fine)
		answered(t, c, 200, "fine")
	}},
	{name: "a body that is waited for", play: func(t *testing.T, e engine, i *instance) {
		r := post(8, "")
		r.fields = append(r.fields, "Expect: 100-continue")
		c := e.open(t, r)
		in := i.next()
		in.head()
		in.send("HTTP/1.1 100 Continue\r\n\r\n")
		if h := c.head(); h == nil || h.status != 100 {
			t.Fatalf("the client is told %v", h)
		}
		c.send("the body")
		in.read("the body")
		in.send(fine)
		answered(t, c, 200, "fine")
	}},
	{name: "interim answers and trailers", play: func(t *testing.T, e engine, i *instance) {
		r := get()
		r.fields = append(r.fields, "TE: trailers")
		c := e.open(t, r)
		in := i.next()
		in.head()
		in.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		if h := c.head(); h == nil || h.status != 103 || h.fields.Get("Link") != "</a>" {
			t.Fatalf("the client is told %v", h)
		}
		in.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
		c.head()
		if body, trailers, whole := c.rest(); body != "abc" || !whole || !slices.Equal(trailers, []string{"X-Sum: 1"}) {
			t.Errorf("the client gets %q, %q, whole %v", body, trailers, whole)
		}
	}},
	{name: "an answer as it comes", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, get())
		in := i.next()
		in.head()
		in.send("HTTP/1.1 200 OK\r\n\r\n")
		if h := c.head(); h.status != 200 {
			t.Fatalf("status %d", h.status)
		}
		for range 3 {
			in.send("data: x\n\n")
			c.read("data: x\n\n")
		}
		in.Close()
		if body, _, whole := c.rest(); body != "" || !whole {
			t.Errorf("the end is %q, whole %v", body, whole)
		}
	}},
	{name: "HEAD", play: bodiless("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")},
	{name: "204", play: bodiless("GET", "HTTP/1.1 204 No Content\r\n\r\n")},
	{name: "304", play: bodiless("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n")},
	{name: "an early answer", timing: true, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, post(1<<20, "begins"))
		in := i.next()
		in.head()
		in.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		answered(t, c, 413, "no")
		in.ended()
	}},
	{name: "a cut answer", reason: "upstream-cut", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, get())
		in := i.next()
		in.head()
		in.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
		in.Close()
		c.head()
		if body, _, whole := c.rest(); whole {
			t.Errorf("%q is taken for whole", body)
		}
	}},
	{name: "a cut body", reason: "client-gone", timing: true, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, post(-1, "first"))
		in := i.next()
		in.head()
		in.read("5\r\nfirst\r\n")
		c.cut()
		in.ended()
		if all := i.recorded(); strings.Contains(all[0], "\r\n0\r\n") {
			t.Errorf("the instance takes it for whole: %q", all)
		}
	}},
	{name: "a client that leaves", reason: "client-gone", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, get())
		in := i.next()
		in.head()
		c.leave()
		in.ended()
	}},
	{name: "a body that is too long", tags: []string{"ingress.max-body=8"}, reason: "body-too-large", timing: true, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, post(-1, "first"))
		in := i.next()
		in.head()
		in.read("5\r\nfirst\r\n")
		c.send("second")
		refused(t, c, 413, "body-too-large")
		in.ended()
	}},
	{name: "sent again", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, get())
		in := i.next()
		in.head()
		in.Close()
		in = i.next()
		in.head()
		in.send(fine)
		answered(t, c, 200, "fine")
	}},
	{name: "not sent again", reason: "upstream-closed", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, post(4, "body"))
		in := i.next()
		in.head()
		in.read("body")
		in.Close()
		refused(t, c, 502, "upstream-closed")
	}},
	{name: "a malformed answer", reason: "bad-answer", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, get())
		in := i.next()
		in.head()
		in.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n")
		refused(t, c, 502, "bad-answer")
	}},
	{name: "no answer in time", tags: []string{"ingress.timeout=100ms"}, reason: "upstream-timeout", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, post(4, "body"))
		i.next().head()
		refused(t, c, 504, "upstream-timeout")
	}},
	{name: "a switch that nobody asked for", reason: "bad-answer", play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, get())
		in := i.next()
		in.head()
		in.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
		refused(t, c, 502, "bad-answer")
	}},
	{name: "a redirect", tags: []string{"ingress.redirect=https"}, reason: "redirect", play: func(t *testing.T, e engine, i *instance) {
		if h := answered(t, e.open(t, get()), 308, "*"); h.fields.Get("Location") != "https://a.test/a?b=c" {
			t.Errorf("redirected to %q", h.fields.Get("Location"))
		}
	}},
	{name: "a tunnel", play: func(t *testing.T, e engine, i *instance) {
		r := get()
		r.upgrade = "echo"
		c := e.open(t, r)
		in := i.next()
		in.head()
		in.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello")
		if h := c.head(); h == nil || h.status != 101 || h.fields.Get("Upgrade") != "echo" {
			t.Fatalf("the client is told %v", h)
		}
		c.read("hello")
		c.send("bytes")
		in.read("bytes")
		in.send("and back")
		c.read("and back")
		in.Conn.(*net.TCPConn).CloseWrite()
		if rest, _, whole := c.rest(); rest != "" || !whole {
			t.Errorf("behind the end there is %q, whole %v", rest, whole)
		}
		c.send("the other half")
		in.read("the other half")
		c.finish()
		in.ended()
	}},
	{name: "a tunnel that is cut", reason: "tunnel-cut", play: func(t *testing.T, e engine, i *instance) {
		r := get()
		r.upgrade = "echo"
		c := e.open(t, r)
		in := i.next()
		in.head()
		in.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		c.head()
		c.send("bytes")
		in.read("bytes")
		in.Conn.(*net.TCPConn).SetLinger(0)
		in.Close()
		if _, _, whole := c.rest(); whole {
			t.Error("the client takes it for the end")
		}
	}},
}

// TestEngineWithoutTunnels: what an engine cannot do is not asked of the instance.
func TestEngineWithoutTunnels(t *testing.T) {
	i := newInstance(t)
	n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{i.address})
	r := get()
	r.upgrade, r.fields = "websocket", append(r.fields, "Upgrade: websocket", "Connection: Upgrade")
	c := (&memory{proxy: n.proxy, tunnelless: true}).open(t, r)
	in := i.next()
	if head := in.head(); strings.Contains(strings.ToLower(head), "upgrade") {
		t.Errorf("the instance is asked %q", head)
	}
	in.send(fine)
	answered(t, c, 200, "fine")
}

package http1_test

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"serai/proxy"
	"serai/router"
)

// An instance that fails a request tells nothing of what it did before: these are
// the ways to fail that have been taken for a proof that nothing was done.
var failures = map[string]func(*peer, int){
	// It reads all, does what is asked, and resets.
	"resets": func(p *peer, size int) {
		p.all(size)
		p.reset()
	},
	// It reads all, and closes.
	"closes": func(p *peer, size int) {
		p.all(size)
		p.Close()
	},
	// It reads the head and none of the body: an application that acts on the
	// path alone.
	"resets unread": func(p *peer, size int) {
		p.head()
		p.reset()
	},
}

// all reads a request with a body of that size.
func (p *peer) all(size int) {
	p.head()
	io.CopyN(io.Discard, p.r, int64(size))
}

// counting serves an origin whose every request fails, and counts them. Warm is
// how many requests of each connection are answered before.
func counting(o *origin, size, warm int, fail func(*peer, int)) *atomic.Int32 {
	n := new(atomic.Int32)
	go func() {
		for p := range o.conns {
			go func() {
				for range warm {
					p.head()
					p.ok("warm")
				}
				if _, err := p.r.Peek(1); err != nil {
					return
				}
				n.Add(1)
				fail(p, size)
			}()
		}
	}()
	return n
}

// TestAtMostOnce: a request that is not idempotent reaches instances once,
// however they fail, over a new connection and over a used one.
func TestAtMostOnce(t *testing.T) {
	for name, fail := range failures {
		for _, size := range []int{0, 5, 3000, 20000} {
			for _, warm := range []int{0, 1} {
				t.Run(name+" "+itoa(size)+" bytes after "+itoa(warm), func(t *testing.T) {
					t.Parallel()
					k := newStack(t, settings{})
					a, b := newOrigin(t), newOrigin(t)
					atA, atB := counting(a, size, warm, fail), counting(b, size, warm, fail)
					k.service("web", []string{a.address, b.address}, "ingress.host=a.test", "ingress.retries=10", "ingress.lb=round-robin")
					k.awaitReady()
					c := k.dial()
					for range 2 * warm { // one connection to each
						c.send("GET / HTTP/1.1", "Host: a.test", "")
						c.status("GET", 200, "")
					}
					c.send("POST / HTTP/1.1", "Host: a.test", "Content-Length: "+itoa(size), "")
					c.write(strings.Repeat("x", size))
					c.status("POST", 502, "upstream-closed")
					if n := atA.Load() + atB.Load(); n != 1 {
						t.Errorf("the request was sent %d times", n)
					}
				})
			}
		}
	}
}

// TestRepeatedWhereAllowed: an idempotent method, a key of the client's or the
// route's tag allow as many repeats as the retries tag says, and not one more.
func TestRepeatedWhereAllowed(t *testing.T) {
	for name, c := range map[string]struct {
		method, line string
		tags         []string
		times        int32
	}{
		"GET":                {"GET", "", nil, 2},
		"DELETE":             {"DELETE", "", nil, 2},
		"GET, no retries":    {"GET", "", []string{"ingress.retries=0"}, 1},
		"DELETE, no retries": {"DELETE", "", []string{"ingress.retries=0"}, 1},
		"PUT, three":         {"PUT", "", []string{"ingress.retries=3"}, 4},
		"POST with a key":    {"POST", `Idempotency-Key: "8e03978e-40d5"`, nil, 2},
		// The instance does not get these keys.
		"POST with two keys":                {"POST", "Idempotency-Key: \"8e03978e-40d5\"\r\nIdempotency-Key: \"another\"", nil, 1},
		"POST with a key and an empty one":  {"POST", "Idempotency-Key: \"8e03978e-40d5\"\r\nIdempotency-Key:", nil, 1},
		"POST with a key of the connection": {"POST", "Connection: Idempotency-Key\r\nIdempotency-Key: \"8e03978e-40d5\"", nil, 1},
		"POST with a key that is removed":   {"POST", `Idempotency-Key: "8e03978e-40d5"`, []string{"ingress.request-remove=Idempotency-Key"}, 1},
		"POST with retry-post":              {"POST", "", []string{"ingress.retry-post=on"}, 2},
		"PATCH":                             {"PATCH", "", []string{"ingress.retries=3"}, 1},
	} {
		for how, fail := range failures {
			for _, warm := range []int{0, 1} {
				t.Run(name+" "+how+" after "+itoa(warm), func(t *testing.T) {
					t.Parallel()
					k := newStack(t, settings{})
					a, b := newOrigin(t), newOrigin(t)
					atA, atB := counting(a, 0, warm, fail), counting(b, 0, warm, fail)
					k.service("web", []string{a.address, b.address}, append([]string{"ingress.host=a.test", "ingress.lb=round-robin"}, c.tags...)...)
					k.awaitReady()
					in := k.dial()
					for range 2 * warm {
						in.send("GET / HTTP/1.1", "Host: a.test", "")
						in.status("GET", 200, "")
					}
					lines := []string{c.method + " / HTTP/1.1", "Host: a.test"}
					if c.line != "" {
						lines = append(lines, c.line)
					}
					in.send(append(lines, "")...)
					// A repeat goes over a new connection, which may be a warm one's first.
					res, _ := in.answer(c.method)
					n := atA.Load() + atB.Load()
					if warm == 0 && (n != c.times || res.StatusCode != 502) {
						t.Errorf("sent %d times, want %d: %s", n, c.times, res.Status)
					}
					if warm == 1 && (n != 1 || (c.times > 1) != (res.StatusCode == 200)) {
						t.Errorf("failed %d times, and was answered %s", n, res.Status)
					}
				})
			}
		}
	}
}

// TestLoop: a service whose instance is serai itself costs a few requests, not
// all connections there are.
func TestLoop(t *testing.T) {
	k := newStack(t, settings{})
	k.service("loop", []string{k.address}, "ingress.host=loop.test", "ingress.retries=10")
	k.awaitReady()
	c := k.dial()
	for _, line := range []string{"X-A: 1", "X-Serai-Hops: nonsense", "Connection: X-Serai-Hops"} {
		c.send("GET / HTTP/1.1", "Host: loop.test", line, "")
		// It is the answer of an instance, whose reason is not sent on.
		if body := c.status("GET", 508, ""); !strings.Contains(body, "(loop)") {
			t.Errorf("answered %q", body)
		}
	}
	if n := k.server.Status().Accepted; n > 100 { // probes come, too; repeats would make it ten to the power of eight
		t.Errorf("%d connections were made", n)
	}
	c.send("POST / HTTP/1.1", "Host: loop.test", "Transfer-Encoding: chunked", "", "3", "abc", "0", "")
	c.status("POST", 508, "")
	until(t, "no request in flight", func() bool { return k.proxy.Inflight() == 0 })
}

// TestHops: a chain of gateways that pass a request on with its fields is no loop.
func TestHops(t *testing.T) {
	k, o := web(t, settings{})
	go func() {
		for p := range o.conns {
			go func() {
				for {
					if _, err := p.r.Peek(1); err != nil {
						return
					}
					head := p.head()
					for line := range strings.SplitSeq(head, "\r\n") {
						if strings.HasPrefix(line, "X-Serai-Hops") {
							p.ok(line)
						}
					}
				}
			}()
		}
	}()
	c := k.dial()
	for sent, want := range map[string]string{"": "X-Serai-Hops: 1", "X-Serai-Hops: 3": "X-Serai-Hops: 4", "X-Serai-Hops: 7": "X-Serai-Hops: 8"} {
		lines := []string{"GET / HTTP/1.1", "Host: web.example.org"}
		if sent != "" {
			lines = append(lines, sent)
		}
		c.send(append(lines, "")...)
		if body := c.status("GET", 200, ""); body != want {
			t.Errorf("sent %q, the instance sees %q, want %q", sent, body, want)
		}
	}
	c.send("GET / HTTP/1.1", "Host: web.example.org", "X-Serai-Hops: 8", "")
	c.status("GET", 508, "loop")
}

// TestVia: the field is sent where a name is given, behind what others have set,
// both ways; and not otherwise.
func TestVia(t *testing.T) {
	for name, want := range map[string]string{"": "", "edge": "edge"} {
		k, o := web(t, settings{proxy: proxy.Options{Via: name}})
		c := k.dial()
		c.send("GET / HTTP/1.1", "Host: web.example.org", "Via: 1.1 before", "")
		in := o.next()
		head := in.head()
		in.send("HTTP/1.1 200 OK", "Via: 1.0 inside", "Content-Length: 0", "")
		res, _ := c.answer("GET")
		if !has(head, "Via: 1.1 before") || has(head, "Via: 1.1 edge") != (want != "") {
			t.Errorf("with %q the instance saw %q", name, head)
		}
		if got := res.Header.Values("Via"); got[0] != "1.0 inside" || (len(got) == 2) != (want != "") {
			t.Errorf("with %q the client saw %q", name, got)
		}
	}
	if _, err := proxy.New(proxy.Options{Router: router.NewRouter(), Via: "not a token"}); err == nil {
		t.Error("any name is taken")
	}
}

package http1_test

import (
	"strings"
	"testing"
	"time"

	"serai/upstream"
)

// TestSticky: the cookie is set once, brings the client back, and is replaced
// when its instance has gone.
func TestSticky(t *testing.T) {
	k := newStack(t, settings{})
	a, b := newOrigin(t), newOrigin(t)
	go a.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
	go b.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb")
	k.service("web", []string{a.address, b.address}, "ingress.host=a.test", "ingress.sticky=seat")
	ask := func(cookie string) (body, set string) {
		c := k.dial()
		defer c.Close()
		c.send("GET / HTTP/1.1", "Host: a.test", "Cookie: x=y; seat="+cookie, "")
		res, body := c.answer("GET")
		return body, res.Header.Get("Set-Cookie")
	}
	first, set := ask("")
	value, attributes, _ := strings.Cut(strings.TrimPrefix(set, "seat="), ";")
	if len(value) != 22 || attributes != " Path=/; HttpOnly; SameSite=Lax" {
		t.Fatalf("Set-Cookie %q", set)
	}
	for range 20 {
		if body, set := ask(value); body != first || set != "" {
			t.Fatalf("the client of %s was answered by %s, Set-Cookie %q", first, body, set)
		}
	}
	rest := map[string]string{"a": b.address, "b": a.address}[first]
	k.service("web", []string{rest}, "ingress.host=a.test", "ingress.sticky=seat")
	if body, set := ask(value); body == first || !strings.HasPrefix(set, "seat=") || strings.Contains(set, value) {
		t.Errorf("after its instance has gone, the client was answered by %s, Set-Cookie %q", body, set)
	}
}

// TestEjection: of two instances one cuts every connection. What may not be
// repeated fails at first, and then no more.
func TestEjection(t *testing.T) {
	k := newStack(t, settings{registry: upstream.RegistryOptions{EjectTime: time.Hour}})
	good, bad := newOrigin(t), newOrigin(t)
	go good.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
	go bad.serve("")
	k.service("web", []string{good.address, bad.address}, "ingress.host=a.test", "ingress.lb=round-robin")
	k.awaitReady()
	failed := 0
	for range 100 {
		c := k.dial()
		c.send("POST / HTTP/1.1", "Host: a.test", "Content-Length: 1", "", "x")
		if res, _ := c.answer("POST"); res.StatusCode != 200 {
			failed++
		}
		c.Close()
	}
	if failed != 5 {
		t.Errorf("%d of 100 requests failed, want the five that it takes", failed)
	}
	states := make(map[string]upstream.State)
	for _, e := range k.registry.All() {
		states[e.Target().Address] = e.State()
	}
	if states[bad.address] != upstream.Ejected || states[good.address] != upstream.Ready {
		t.Errorf("states %v", states)
	}
}

// serve answers every request whose head is followed by at most one byte, or
// closes the connection when answer is empty.
func (o *origin) serve(answer string) {
	for p := range o.conns {
		go func() {
			defer p.Close()
			b := make([]byte, 4096)
			for answer != "" {
				if _, err := p.r.Read(b); err != nil {
					return
				}
				if _, err := p.Write([]byte(answer)); err != nil {
					return
				}
			}
			p.r.Read(b)
		}()
	}
}

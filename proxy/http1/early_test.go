package http1_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/proxy"
	"serai/proxy/http1"
)

// TestMaxBodyForEveryFraming: not one byte beyond the limit goes to an instance,
// and none at all where the body is known to be too long; the client is told.
func TestMaxBodyForEveryFraming(t *testing.T) {
	long := strings.Repeat("0123456789", 500)
	const host = " / HTTP/1.1\r\nHost: web.example.org\r\n"
	for name, pieces := range map[string][]string{
		"length":               {"POST" + host + "Content-Length: 11\r\n\r\n", "01234567890"},
		"length with the head": {"POST" + host + "Content-Length: 11\r\n\r\n01234567890"},
		"one chunk":            {"POST" + host + "Transfer-Encoding: chunked\r\n\r\n1388\r\n" + long + "\r\n0\r\n\r\n"},
		"one chunk behind":     {"POST" + host + "Transfer-Encoding: chunked\r\n\r\n", "1388\r\n" + long + "\r\n0\r\n\r\n"},
		"chunk by chunk":       {"POST" + host + "Transfer-Encoding: chunked\r\n\r\n", "5\r\n01234\r\n", "5\r\n56789\r\n", "1\r\nx\r\n", "0\r\n\r\n"},
		"chunks at once":       {"POST" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n56789x\r\n0\r\n\r\n"},
		"a part of a chunk":    {"POST" + host + "Transfer-Encoding: chunked\r\n\r\n1388\r\n01234", long[5:] + "\r\n0\r\n\r\n"},
		"gathered":             {"POST" + host + "Content-Length: 11\r\n\r\n01234", "567890"},
		"upgrade":              {"POST" + host + "Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"},
		"PUT with Expect":      {"PUT" + host + "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n"},
		"HTTP/1.0":             {"POST / HTTP/1.0\r\nHost: web.example.org\r\nContent-Length: 11\r\n\r\n01234567890"},
		"large":                {"POST" + host + "Content-Length: 2000000\r\n\r\n" + long},
	} {
		t.Run(name, func(t *testing.T) {
			k, o := web(t, settings{proxy: proxy.Options{Splice: true}}, "ingress.max-body=10")
			c := k.dial()
			for _, p := range pieces {
				c.write(p)
				time.Sleep(2 * time.Millisecond)
			}
			c.status("POST", 413, "body-too-large")
			select {
			case p := <-o.conns:
				saw, _ := io.ReadAll(p.r)
				_, body, _ := strings.Cut(string(saw), "\r\n\r\n")
				if strings.Contains(body, "x") || len(body) > len("5\r\n01234\r\n5\r\n56789\r\n") {
					t.Errorf("the instance was sent %.100q", body)
				}
				if len(pieces) == 1 && !strings.HasPrefix(name, "chunks") {
					t.Errorf("what is known to be too long was begun: %.300q", saw)
				}
			default:
			}
		})
	}
}

// TestUpgradeWithABody: what a request for another protocol has for a body is
// sent as such; what its client sends behind it before the 101 is the other
// protocol's.
func TestUpgradeWithABody(t *testing.T) {
	const head = "POST /exec HTTP/1.1\r\nHost: web.example.org\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
	for name, v := range map[string]struct{ first, second, seen string }{
		"empty":           {head + "Content-Length: 0\r\n\r\n", "", ""},
		"JSON":            {head + "Content-Length: 12\r\n\r\n{\"Tty\":true}", "", `{"Tty":true}`},
		"JSON in pieces":  {head + "Content-Length: 12\r\n\r\n{\"Tty\"", `:true}`, `{"Tty":true}`},
		"chunked":         {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "", "2\r\n{}\r\n0\r\n\r\n"},
		"chunked, pieces": {head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "1\r\n}\r\n0\r\n\r\n", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"},
	} {
		for _, behind := range []string{"", "GET /early HTTP/1.1\r\n\r\n"} {
			t.Run(fmt.Sprintf("%s behind=%v", name, behind != ""), func(t *testing.T) {
				k, o := web(t, settings{})
				c := k.dial()
				gathered := strings.Contains(v.first, "Content-Length")
				switch {
				case v.second == "":
					c.write(v.first + behind)
				case gathered:
					c.write(v.first)
					time.Sleep(5 * time.Millisecond)
					c.write(v.second + behind)
				default:
					c.write(v.first)
				}
				p := o.next()
				if h := p.head(); !has(h, "Connection: Upgrade") || !has(h, "Upgrade: SPDY/3.1") {
					t.Errorf("the instance saw %q", h)
				}
				if v.second == "" || gathered {
					p.read(v.seen)
					p.send("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: SPDY/3.1", "")
				} else {
					// The instance switches before it has all of the body.
					p.send("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: SPDY/3.1", "")
					time.Sleep(5 * time.Millisecond)
					c.write(v.second + behind)
					p.read(v.seen)
				}
				if h := c.head(); !strings.HasPrefix(h, "HTTP/1.1 101 ") {
					t.Fatalf("the client saw %q", h)
				}
				p.read(behind)
				c.write("in")
				p.read("in")
				p.write("out")
				c.read("out")
			})
		}
	}
}

// TestUpgradeRefused: any other answer is a plain one. What the client has sent
// for the protocol that it did not get is not taken for a request.
func TestUpgradeRefused(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.write("POST /exec HTTP/1.1\r\nHost: web.example.org\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}DELETE /early HTTP/1.1\r\nHost: web.example.org\r\n\r\n")
	p := o.next()
	p.head()
	p.read("{}")
	p.send("HTTP/1.1 404 Not Found", "Content-Length: 3", "", "no")
	res, _ := c.answer("POST")
	if res.StatusCode != 404 || !res.Close {
		t.Errorf("answer %s, close %v", res.Status, res.Close)
	}
	c.ended()
	p.ended() // without a byte more: nobody knows what the instance makes of such a request
}

// TestEarlyAnswerLosesNoRequest: an answer that comes before the request's body
// has says close, or the next request on the connection is answered.
func TestEarlyAnswerLosesNoRequest(t *testing.T) {
	const known, unknown = "web.example.org", "nobody.example.org"
	for name, v := range map[string]struct {
		host, framing string
		body          string // sent along
		rest          string // sent behind the answer, if it does not say close
		close         bool
	}{
		"404, all of it":          {unknown, "Content-Length: 3", "abc", "", false},
		"404, a part":             {unknown, "Content-Length: 30000", "abc", strings.Repeat("x", 29997), false},
		"404, none of it":         {unknown, "Content-Length: 3", "", "abc", false},
		"404, too much":           {unknown, "Content-Length: 300000", "abc", "", true},
		"404, chunked, all of it": {unknown, "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "", false},
		"404, chunked, a part":    {unknown, "Transfer-Encoding: chunked", "3\r\nabc\r\n", "", true},
		"404, Expect":             {unknown, "Expect: 100-continue\r\nContent-Length: 3", "", "", true},
		"413, a part":             {known, "Content-Length: 100000", "abc", strings.Repeat("x", 99997), false},
		"413, too much":           {known, "Content-Length: 100000000", strings.Repeat("x", 100000), "", true},
		"413, chunked":            {known, "Transfer-Encoding: chunked", "3\r\nabc\r\n", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			k, o := web(t, settings{})
			c := k.dial()
			c.write("POST / HTTP/1.1\r\nHost: " + v.host + "\r\n" + v.framing + "\r\n\r\n" + v.body)
			if v.host == known {
				p := o.next()
				p.head()
				p.send("HTTP/1.1 413 Too Large", "Content-Length: 3", "", "no")
			}
			res, _ := c.answer("POST")
			if res.Close != v.close {
				t.Fatalf("close: %v, want %v", res.Close, v.close)
			}
			if v.close {
				c.ended()
				return
			}
			c.write(v.rest)
			c.send("GET /next HTTP/1.1", "Host: "+unknown, "")
			c.status("GET", 404, "no-host")
		})
	}
}

// TestManyInterimAnswers: as many as the limit allows are passed on.
func TestManyInterimAnswers(t *testing.T) {
	for n, want := range map[int]int{64: 200, 65: 502} {
		k, o := web(t, settings{})
		c := k.dial()
		c.send("PROPFIND / HTTP/1.1", "Host: web.example.org", "")
		p := o.next()
		p.head()
		// In one write: after one too many nobody reads any more.
		p.write(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", n) + "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
		res, _ := c.answer("PROPFIND")
		for res.StatusCode == http.StatusProcessing {
			res, _ = c.answer("PROPFIND")
		}
		if res.StatusCode != want || want == 502 && res.Header.Get("X-Serai-Reason") != "too-many-interim" {
			t.Errorf("%d interim answers: %s, %v", n, res.Status, res.Header)
		}
		if want == 502 { // a request is counted once it is answered
			until(t, "the count", func() bool { return k.proxy.Reasons()["too-many-interim"] == 1 })
		}
	}
}

// TestHalfClose: an answer that comes in time, or that has begun and has a known
// length, comes whole to a client that has closed its sending side.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	c.Conn.(*net.TCPConn).CloseWrite()
	p := o.next()
	p.head()
	p.send("HTTP/1.1 200 OK", "Content-Length: 8", "", "one ")
	c.head()
	time.Sleep(1500 * time.Millisecond) // the watch has been here
	p.write("two")
	c.read("one \r\ntwo"[:8])
	c.ended()
}

// TestRefusedHeadsAreLogged: with as much of them as could be read.
func TestRefusedHeadsAreLogged(t *testing.T) {
	var mu sync.Mutex
	var logged []string
	log := func(x *proxy.Exchange) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, fmt.Sprintf("%s %s %s %d %s %v", x.Head.Method, x.Head.Host, x.Head.Target, x.Status, x.Reason, x.Client))
	}
	patient := newStack(t, settings{server: http1.Options{HeadTimeout: long}, proxy: proxy.Options{Log: log}})
	hasty := newStack(t, settings{server: http1.Options{HeadTimeout: 3 * time.Second}, proxy: proxy.Options{Log: log}})
	for request, want := range map[string]string{
		"GET /a HTTP/1.1\r\nHost: a.test\r\nX-A: \x01\r\n\r\n":                           "GET a.test /a 400 bad-field-value 127.0.0.1",
		"GET /a HTTP/1.1\r\nHost: a.test\r\nX-A":                                         "GET a.test /a 408 head-timeout 127.0.0.1",
		"GET /a HTTP/1.1\r\nHost: a.test\r\nX-A: " + strings.Repeat("x", 70000):          "GET a.test /a 431 head-too-large 127.0.0.1",
		"G\x00T /a HTTP/1.1\r\nHost: a.test\r\n\r\n":                                     "   400 bad-method 127.0.0.1",
		"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: x\r\n\r\n":                  "POST a.test /a 400 bad-content-length 127.0.0.1",
		"GET /a HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("A: b\r\n", 129) + "\r\n": "GET a.test /a 431 too-many-fields 127.0.0.1",
	} {
		k := patient
		if strings.Contains(want, "head-timeout") {
			k = hasty
		}
		c := k.dial()
		io.WriteString(c.Conn, request)
		io.ReadAll(c.r)
		var line string
		until(t, "a line", func() bool {
			mu.Lock()
			defer mu.Unlock()
			if len(logged) == 0 {
				return false
			}
			line, logged = logged[0], logged[1:]
			return true
		})
		if line != want {
			t.Errorf("logged %q, want %q", line, want)
		}
	}
}

package http1_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"serai/front"
	"serai/internal/testnet"
	"serai/proxy"
	"serai/proxy/http1"
	"serai/wire/socket"
)

// web runs a data path with one service, web.example.org, on a hand-written
// origin.
func web(t *testing.T, s settings, tags ...string) (*stack, *origin) {
	t.Helper()
	o := newOrigin(t)
	k := newStack(t, s)
	k.service("web", []string{o.address}, append([]string{"ingress.host=web.example.org"}, tags...)...)
	return k, o
}

// ok answers one request with 200 and a body.
func (p *peer) ok(body string) {
	p.t.Helper()
	p.send("HTTP/1.1 200 OK", "Content-Length: "+itoa(len(body)), "")
	p.write(body)
}

func itoa(n int) string {
	b := []byte{}
	for ; n > 9; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(append([]byte{byte('0' + n)}, b...))
}

func TestKeepAliveOnBothSides(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	var in *peer
	for i := range 3 {
		c.send("GET /"+itoa(i)+" HTTP/1.1", "Host: web.example.org", "")
		if i == 0 {
			in = o.next()
		}
		if head := in.head(); !strings.HasPrefix(head, "GET /"+itoa(i)+" HTTP/1.1\r\nHost: web.example.org\r\n") {
			t.Fatalf("the origin saw %q", head)
		}
		in.ok("answer " + itoa(i))
		if body := c.status("GET", 200, ""); body != "answer "+itoa(i) {
			t.Fatalf("body %q", body)
		}
	}
}

func TestForwardingFields(t *testing.T) {
	k, o := web(t, settings{}, "ingress.api.host=web.example.org", "ingress.api.path=/api", "ingress.api.strip=/api")
	c := k.dial()
	c.send("GET /api/a%2Fb?x=1 HTTP/1.1", "Host: Web.Example.org:80", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https",
		"Forwarded: for=6.6.6.6", "Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
		"TE: trailers", "X-Kept:  with blanks ", "X_Real_IP: 6.6.6.6", "")
	head := o.next().head()
	if !strings.HasPrefix(head, "GET /a%2Fb?x=1 HTTP/1.1\r\n") {
		t.Errorf("the prefix is not stripped: %q", head)
	}
	for _, line := range []string{"Host: Web.Example.org:80", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Prefix: /api", "X-Real-Ip: 127.0.0.1", "X-Kept: with blanks"} {
		if !has(head, line) {
			t.Errorf("the origin does not see %q:\n%s", line, head)
		}
	}
	for _, not := range []string{"6.6.6.6", "X-Hop", "Keep-Alive", "Proxy-Connection", "timeout=5"} {
		if strings.Contains(head, not) {
			t.Errorf("the origin sees %q:\n%s", not, head)
		}
	}
}

func TestStreamingUpload(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Transfer-Encoding: chunked", "", "5", "first")
	in := o.next()
	if head := in.head(); !has(head, "Transfer-Encoding: chunked") {
		t.Fatalf("the origin saw %q", head)
	}
	in.read("5\r\nfirst\r\n") // before the rest was sent
	c.send("6;ext=1", "second", "0", "X-Trailer: t", "")
	in.read("6\r\nsecond\r\n0\r\n")
	if rest := in.head(); rest != "X-Trailer: t\r\n\r\n" && rest != "\r\n" {
		t.Fatalf("the origin saw the trailers %q", rest)
	}
	in.ok("done")
	c.status("POST", 200, "")
}

func TestEarlyAnswerToAnUpload(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 100000000", "")
	c.write(strings.Repeat("x", 1000))
	in := o.next()
	in.head()
	in.send("HTTP/1.1 413 Too Large", "Content-Length: 3", "Connection: close", "", "no")
	if res, _ := c.answer("POST"); res.StatusCode != 413 {
		t.Fatalf("answer %s", res.Status)
	}
}

func TestExpectContinueIsTheOriginsToDecide(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Expect: 100-continue", "Content-Length: 4", "")
	in := o.next()
	if head := in.head(); !has(head, "Expect: 100-continue") {
		t.Fatalf("the origin saw %q", head)
	}
	in.send("HTTP/1.1 100 Continue", "")
	c.read("HTTP/1.1 100 Continue\r\n")
	c.head()
	c.write("body")
	in.read("body")
	in.ok("fine")
	c.status("POST", 200, "")
}

// TestReasonIsOurs: an instance cannot make an answer look like one of serai's, in
// no part of it.
func TestReasonIsOurs(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "TE: trailers", "")
	in := o.next()
	in.head()
	in.send("HTTP/1.1 103 Early Hints", "X-Serai-Reason: no-host", "X_Serai_Reason: no-host", "Link: </a>", "")
	c.read("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n")
	c.head()
	in.send("HTTP/1.1 503 Service Unavailable", "x-serai-reason: no-instance", "X-Serai-Reason: loop", "X_Serai_Reason: loop", "x.serai-reason: loop", "X~SERAI!reason: loop",
		"X-Mine: 1", "X_Mine: 1", "Transfer-Encoding: chunked", "", "0", "X-Serai-Reason: cut", "X_Serai_Reason: cut", "X-Serai.Reason: cut", "X-Sum: 1", "")
	res, _ := c.answer("GET")
	if res.StatusCode != 503 || len(reasons(res.Header)) > 0 || res.Header.Get("X-Mine") != "1" || res.Header.Get("X_Mine") != "1" {
		t.Errorf("answered %d %v", res.StatusCode, res.Header)
	}
	if len(reasons(res.Trailer)) > 0 || res.Trailer.Get("X-Sum") != "1" {
		t.Errorf("the trailers are %v", res.Trailer)
	}

	c = k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "Connection: Upgrade", "Upgrade: raw", "")
	in = o.next()
	in.head()
	in.send("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: raw", "X-Serai-Reason: loop", "X_Serai_Reason: loop", "")
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") || strings.Contains(strings.ToLower(head), "reason") {
		t.Errorf("the tunnel begins with %q", head)
	}
}

// reasons are the names that programs which read a header like an environment take
// for X-Serai-Reason.
func reasons(h http.Header) (names []string) {
	for name := range h {
		if strings.Contains(strings.ToLower(name), "reason") {
			names = append(names, name)
		}
	}
	return names
}

func TestInterimAnswersAndTrailers(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "TE: trailers", "")
	in := o.next()
	in.head()
	in.send("HTTP/1.1 103 Early Hints", "Link: </style.css>; rel=preload", "")
	c.read("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n")
	c.head()
	in.send("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "3", "abc", "0", "X-Sum: 1", "")
	res, body := c.answer("GET")
	if body != "abc" || res.Trailer.Get("X-Sum") != "1" {
		t.Errorf("body %q, trailers %v", body, res.Trailer)
	}
}

// TestFlush: what the origin has sent reaches the client while more is to come.
func TestFlush(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET /events HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	in.send("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "")
	if head := c.head(); !has(head, "Content-Type: text/event-stream") {
		t.Fatalf("head %q", head)
	}
	for range 3 {
		in.write("data: x\n\n")
		c.read("9\r\ndata: x\n\n\r\n") // an answer up to the end of the connection is chunked
	}
	in.Close()
	c.read("0\r\n\r\n")
}

func TestBodiless(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	var in *peer
	for _, status := range []string{"204 No Content", "304 Not Modified"} {
		c.send("GET / HTTP/1.1", "Host: web.example.org", "")
		if in == nil {
			in = o.next()
		}
		in.head()
		in.send("HTTP/1.1 "+status, "")
		if res, body := c.answer("GET"); body != "" || !strings.HasPrefix(res.Status, status[:3]) {
			t.Errorf("%s was answered as %s %q", status, res.Status, body)
		}
	}
	c.send("HEAD / HTTP/1.1", "Host: web.example.org", "")
	in.head()
	in.send("HTTP/1.1 200 OK", "Content-Length: 1000", "")
	if res, _ := c.answer("HEAD"); res.ContentLength != 1000 {
		t.Errorf("HEAD was answered with length %d", res.ContentLength)
	}
}

func TestHTTP10(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET / HTTP/1.0", "Host: web.example.org", "")
	in := o.next()
	in.head()
	in.send("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "3", "abc", "0", "")
	head := c.head()
	if strings.Contains(head, "chunked") || !has(head, "Connection: close") {
		t.Errorf("an HTTP/1.0 client was answered %q", head)
	}
	c.read("abc")
	c.ended()
}

func TestPipelining(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.write("GET /1 HTTP/1.1\r\nHost: web.example.org\r\n\r\nPOST /2 HTTP/1.1\r\nHost: web.example.org\r\nContent-Length: 2\r\n\r\nabGET /3 HTTP/1.1\r\nHost: web.example.org\r\n\r\n")
	in := o.next()
	for i, line := range []string{"GET /1", "POST /2", "GET /3"} {
		if head := in.head(); !strings.HasPrefix(head, line+" HTTP/1.1\r\n") {
			t.Fatalf("request %d is %q", i+1, head)
		}
		if i == 1 {
			in.read("ab")
		}
		in.ok(itoa(i + 1))
	}
	for i := range 3 {
		if body := c.status("GET", 200, ""); body != itoa(i+1) {
			t.Fatalf("answer %d is %q", i+1, body)
		}
	}
}

// TestPipelinedBeyondABuffer: requests of 64 bytes fill a buffer to its end, so
// that nothing tells of what is left in the socket.
func TestPipelinedBeyondABuffer(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	in.ok("x")
	c.status("GET", 200, "")
	const line, end, many = "GET /", " HTTP/1.1\r\nHost: web.example.org\r\n\r\n", 3 * socket.TinyBuffer / 64
	c.write(strings.Repeat(line+strings.Repeat("x", 64-len(line+end))+end, many))
	for range many {
		in.head()
		in.ok("x")
	}
	for range many {
		c.status("GET", 200, "")
	}
}

// TestClientGone: the origin is let go when the client leaves while it waits.
func TestClientGone(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET /slow HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	c.Close()
	in.ended()
	until(t, "the count", func() bool { return k.proxy.Reasons()["client-gone"] == 1 })
}

func TestRefusedRequests(t *testing.T) {
	k, o := web(t, settings{})
	for name, c := range map[string]struct {
		raw    string
		status int
		reason string
	}{
		"no host":         {"GET / HTTP/1.1\r\n\r\n", 400, "host-missing"},
		"two hosts":       {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, ""},
		"length twice":    {"POST / HTTP/1.1\r\nHost: web.example.org\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, ""},
		"length and TE":   {"POST / HTTP/1.1\r\nHost: web.example.org\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
		"unknown coding":  {"POST / HTTP/1.1\r\nHost: web.example.org\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, ""},
		"folded field":    {"GET / HTTP/1.1\r\nHost: web.example.org\r\nX: a\r\n b\r\n\r\n", 400, ""},
		"space and colon": {"GET / HTTP/1.1\r\nHost: web.example.org\r\nX : a\r\n\r\n", 400, ""},
		"bare LF":         {"GET / HTTP/1.1\nHost: web.example.org\n\n", 400, ""},
		"CONNECT":         {"CONNECT web.example.org:443 HTTP/1.1\r\nHost: web.example.org\r\n\r\n", 501, ""},
		"HTTP/2 preface":  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ""},
		"huge head":       {"GET / HTTP/1.1\r\nHost: web.example.org\r\nX: " + strings.Repeat("x", 70000) + "\r\n\r\n", 431, ""},
		"huge target":     {"GET /" + strings.Repeat("x", 20000) + " HTTP/1.1\r\nHost: web.example.org\r\n\r\n", 414, ""},
		"many fields":     {"GET / HTTP/1.1\r\nHost: web.example.org\r\n" + strings.Repeat("X: 1\r\n", 200) + "\r\n", 431, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := k.dial()
			p.t = t
			p.write(c.raw)
			res, body := p.answer("GET")
			reason := res.Header.Get("X-Serai-Reason")
			if res.StatusCode != c.status || reason == "" || !res.Close {
				t.Errorf("answer %s, reason %q, close %v, body %q; want %d and a close", res.Status, reason, res.Close, body, c.status)
			}
			if kept := res.Header.Get("Cache-Control"); kept != "no-store" {
				t.Errorf("a cache may keep it: %q", kept)
			}
			p.ended()
		})
	}
	select {
	case in := <-o.conns:
		t.Errorf("a refused request reached the origin: %q", in.head())
	default:
	}
}

func TestBadAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		raw    string
		reason string
	}{
		"closed at once":   {"", "upstream-closed"},
		"no HTTP":          {"hello\r\n\r\n", "bad-answer"},
		"length and TE":    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad-answer"},
		"two lengths":      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "bad-answer"},
		"half a head":      {"HTTP/1.1 200 OK\r\nContent-Le", "upstream-closed"},
		"bare LF in field": {"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n", "bad-answer"},
		"uncalled switch":  {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "bad-answer"},
	} {
		t.Run(name, func(t *testing.T) {
			k, o := web(t, settings{}, "ingress.retries=0")
			p := k.dial()
			p.send("GET / HTTP/1.1", "Host: web.example.org", "")
			answered := make(chan struct{})
			go func() { // a connection that was idle is given a second chance
				for {
					select {
					case in, open := <-o.conns:
						if !open {
							return
						}
						in.r.ReadString('\n')
						io.WriteString(in, c.raw)
						in.Conn.(*net.TCPConn).CloseWrite()
					case <-answered:
						return
					}
				}
			}()
			p.status("GET", 502, c.reason)
			close(answered)
		})
	}
}

// TestCutAnswer: a body that ends too early ends the client's connection, so
// that it cannot be taken for a whole one.
func TestCutAnswer(t *testing.T) {
	for name, lines := range map[string][]string{
		"length":  {"HTTP/1.1 200 OK", "Content-Length: 1000", "", "abc"},
		"chunked": {"HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "3", "abc"},
		"spliced": {"HTTP/1.1 200 OK", "Content-Length: 4194304", "", strings.Repeat("abc", 1<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			k, o := web(t, settings{proxy: proxy.Options{Splice: true}})
			c := k.dial()
			c.send("GET / HTTP/1.1", "Host: web.example.org", "")
			in := o.next()
			in.head()
			var reading sync.WaitGroup
			defer reading.Wait()
			reading.Go(func() { // meanwhile, since it may be more than fits into buffers
				res, err := http.ReadResponse(c.r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if body, err := io.ReadAll(res.Body); err == nil {
					t.Errorf("a cut answer was read as whole: %d bytes", len(body))
				}
			})
			in.send(lines...)
			in.Close()
		})
	}
}

// TestPoisonedConnection: bytes that nobody asked for never become an answer.
func TestPoisonedConnection(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET /1 HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	in.ok("one")
	c.status("GET", 200, "")
	in.ok("poison")
	time.Sleep(20 * time.Millisecond) // for the bytes to arrive; either way no poison may be served
	c.send("GET /2 HTTP/1.1", "Host: web.example.org", "")
	next := o.next()
	if head := next.head(); !strings.HasPrefix(head, "GET /2") {
		t.Fatalf("the origin saw %q", head)
	}
	next.ok("two")
	if body := c.status("GET", 200, ""); body != "two" {
		t.Errorf("the answer is %q", body)
	}
}

// TestIdleConnectionClosed: the origin closes its end while the connection is
// idle; neither a GET nor a POST fails for it.
func TestIdleConnectionClosed(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			k, o := web(t, settings{})
			c := k.dial()
			for range 20 {
				c.send(method+" / HTTP/1.1", "Host: web.example.org", "Content-Length: 2", "")
				c.write("ab")
				in := o.next()
				in.head()
				in.read("ab")
				in.ok("x")
				in.Close()
				c.status(method, 200, "")
			}
		})
	}
}

// TestFailedConnectGoesElsewhere: an instance that is gone costs no request,
// whatever the method.
func TestFailedConnectGoesElsewhere(t *testing.T) {
	k := newStack(t, settings{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	defer server.Close()
	gone, err := net.Listen("tcp", testnet.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	k.service("web", []string{server.Listener.Addr().String(), gone.Addr().String()}, "ingress.host=web.example.org", "ingress.lb=round-robin")
	until(t, "both instances", func() bool { c, err := gone.Accept(); c.Close(); return err == nil })
	gone.Close()
	c := k.dial()
	for range 10 {
		c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 2", "")
		c.write("ab")
		if body := c.status("POST", 200, ""); body != "ab" {
			t.Fatalf("body %q", body)
		}
	}
}

// TestNotRepeated: a POST that an instance may have seen is not sent again.
func TestNotRepeated(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 2", "")
	c.write("ab")
	in := o.next()
	in.head()
	in.read("ab")
	in.Close()
	c.status("POST", 502, "upstream-closed")
	select {
	case <-o.conns:
		t.Error("the request was sent twice")
	default:
	}
}

func TestWaitForAnInstance(t *testing.T) {
	k := newStack(t, settings{})
	closed := testnet.Address(t)
	k.service("web", []string{closed}, "ingress.host=web.example.org")
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	until(t, "the request", func() bool { return k.proxy.Inflight() == 1 })
	o := newOrigin(t)
	k.service("web", []string{o.address}, "ingress.host=web.example.org")
	in := o.next()
	in.head()
	in.ok("waited")
	if body := c.status("GET", 200, ""); body != "waited" {
		t.Errorf("body %q", body)
	}
}

func TestNoInstance(t *testing.T) {
	k, _ := web(t, settings{}, "ingress.wait=20ms")
	k.service("web", nil)
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	res, _ := c.answer("GET")
	if res.StatusCode != 503 || res.Header.Get("X-Serai-Reason") != "no-instance" || res.Header.Get("Retry-After") == "" {
		t.Errorf("answer %s %v", res.Status, res.Header)
	}
	c.send("GET / HTTP/1.1", "Host: other.example.org", "Accept: application/json", "")
	if body := c.status("GET", 404, "no-host"); !strings.HasPrefix(body, `{"status":404,"reason":"no-host"`) {
		t.Errorf("body %q", body)
	}
}

func TestUpstreamTimeout(t *testing.T) {
	k, o := web(t, settings{}, "ingress.timeout=2s")
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	o.next().head()
	c.status("GET", 504, "upstream-timeout")
}

func TestSlowHead(t *testing.T) {
	k, _ := web(t, settings{server: http1.Options{HeadTimeout: 2 * time.Second}})
	c := k.dial()
	c.write("GET / HTTP/1.1\r\nHost: web")
	c.status("GET", 408, "head-timeout")
	c.ended()
}

func TestMaxBody(t *testing.T) {
	k, o := web(t, settings{}, "ingress.max-body=10")
	c := k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 11", "")
	if res, _ := c.answer("POST"); res.StatusCode != 413 {
		t.Errorf("a long body was answered %s", res.Status)
	}
	c = k.dial()
	c.send("POST / HTTP/1.1", "Host: web.example.org", "Transfer-Encoding: chunked", "", "5", "first", "a", "0123456789", "0", "")
	if res, _ := c.answer("POST"); res.StatusCode != 413 {
		t.Errorf("a long chunked body was answered %s", res.Status)
	}
	select {
	case in := <-o.conns: // it may have seen the first part, never a whole body
		rest, _ := io.ReadAll(in.r)
		if strings.Contains(string(rest), "0\r\n\r\n") {
			t.Errorf("the origin took a body that is too long for whole: %q", rest)
		}
	default:
	}
}

// TestMaxInflight: the second request waits for the end of the first.
func TestMaxInflight(t *testing.T) {
	k, o := web(t, settings{}, "ingress.max-inflight=1")
	first, second := k.dial(), k.dial()
	first.send("GET /1 HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	second.send("GET /2 HTTP/1.1", "Host: web.example.org", "")
	until(t, "the second request", func() bool { return k.proxy.Inflight() == 2 })
	in.ok("1")
	first.status("GET", 200, "")
	if head := in.head(); !strings.HasPrefix(head, "GET /2") {
		t.Fatalf("the origin saw %q", head)
	}
	in.ok("2")
	second.status("GET", 200, "")
}

func TestWebSocket(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 24)
		for {
			kind, message, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), kind, message) != nil {
				return
			}
		}
	}))
	defer server.Close()
	inner := newStack(t, settings{})
	inner.service("web", []string{server.Listener.Addr().String()}, "ingress.host=*")
	outer := newStack(t, settings{}) // two in a row
	outer.service("web", []string{inner.address}, "ingress.host=*")
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+outer.address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 24)
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 3 << 20} {
		message := make([]byte, size)
		for i := range message {
			message[i] = byte(rand.Uint32())
		}
		if err := c.Write(ctx, websocket.MessageBinary, message); err != nil {
			t.Fatal(err)
		}
		if _, back, err := c.Read(ctx); err != nil || string(back) != string(message) {
			t.Fatalf("%d bytes came back as %d, %v", size, len(back), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestLargeBodies sends the same bytes both ways, many at once.
func TestLargeBodies(t *testing.T) {
	t.Run("copied", func(t *testing.T) { largeBodies(t, proxy.Options{}) })
	t.Run("spliced", func(t *testing.T) { largeBodies(t, proxy.Options{Splice: true}) })
}

func largeBodies(t *testing.T, o proxy.Options) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Length", r.Header.Get("Content-Length"))
		w.(http.Flusher).Flush()
		io.Copy(w, r.Body)
	}))
	defer server.Close()
	const size, many = 10 << 20, 8
	var in, out atomic.Int64
	o.Log = func(x *proxy.Exchange) { in.Add(x.BytesIn); out.Add(x.BytesOut) }
	k := newStack(t, settings{proxy: o})
	k.service("web", []string{server.Listener.Addr().String()}, "ingress.host=*")
	var running sync.WaitGroup
	for seed := range uint64(many) {
		running.Go(func() {
			sent, came := sha256.New(), sha256.New()
			body := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{byte(seed)}), size), sent)
			req, _ := http.NewRequest("POST", "http://"+k.address+"/", body)
			req.ContentLength = size
			if seed%2 == 1 {
				req.ContentLength = -1 // in chunks
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if n, err := io.Copy(came, res.Body); err != nil || n != size || string(came.Sum(nil)) != string(sent.Sum(nil)) {
				t.Errorf("%d bytes came back, %v, or other ones", n, err)
			}
		})
	}
	running.Wait()
	until(t, "the log", func() bool { return in.Load() >= many*size && out.Load() >= many*size })
	if in.Load() != many*size || out.Load() != many*size {
		t.Errorf("%d and %d bytes were counted, not %d", in.Load(), out.Load(), many*size)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestRetire: answers end their connections, and new ones are still served.
func TestRetire(t *testing.T) {
	k, o := web(t, settings{})
	old := k.dial()
	k.server.Retire()
	for i, c := range []*peer{old, k.dial()} {
		c.send("GET / HTTP/1.1", "Host: web.example.org", "")
		if i == 0 {
			in := o.next()
			go func() {
				for range 2 {
					in.head()
					in.ok("x")
				}
			}()
		}
		if res, body := c.answer("GET"); body != "x" || !res.Close {
			t.Errorf("answer %q, close %v", body, res.Close)
		}
		c.ended()
	}
}

// TestDrainAnswersWhoJustCame: a client whose connection was accepted right
// before the drain is answered, since it cannot know; silence is not waited for
// much longer.
func TestDrainAnswersWhoJustCame(t *testing.T) {
	inTime(t, func() error { return answeredInADrain(t) })
}

func answeredInADrain(t *testing.T) error {
	k, o := web(t, settings{})
	fresh, silent := k.dial(), k.dial()
	for k.server.Status().Conns < 2 {
		time.Sleep(time.Millisecond)
	}
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), long)
		defer cancel()
		ended <- k.server.Shutdown(ctx)
	}()
	began := time.Now()
	// Until the listener is closed. A SYN that meets it in the middle is lost, and
	// sent again after a second, which is as long as the client is waited for.
	until(t, "a refused connect", func() bool {
		c, err := net.DialTimeout("tcp", k.address, 50*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if late := time.Since(began); late > time.Second/2 {
		fresh.ended()
		return fmt.Errorf("the drain closed the listener after %v", late)
	}
	fresh.send("GET / HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	in.ok("x")
	if res, body := fresh.answer("GET"); body != "x" || !res.Close {
		t.Errorf("answer %q, close %v", body, res.Close)
	}
	fresh.ended()
	silent.ended()
	if err := <-ended; err != nil {
		t.Errorf("the drain ended with %v", err)
	}
	return nil
}

// TestDrain: idle connections close, a request under way is answered with
// Connection: close.
func TestDrain(t *testing.T) {
	k, o := web(t, settings{})
	idle, busy := k.dial(), k.dial()
	idle.send("GET / HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	in.ok("x")
	idle.status("GET", 200, "")
	// The client has its answer a moment before the connection is free again.
	until(t, "an idle connection", func() bool { return k.registry.All()[0].Status().Idle == 1 })
	busy.send("GET /busy HTTP/1.1", "Host: web.example.org", "")
	in.head()
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), long)
		defer cancel()
		ended <- k.server.Shutdown(ctx)
	}()
	idle.ended()
	in.ok("busy")
	res, body := busy.answer("GET")
	if body != "busy" || !res.Close {
		t.Errorf("the request under way was answered %q, close %v", body, res.Close)
	}
	busy.ended()
	if err := <-ended; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// TestAnswersThatCrossADrain come whole or not at all: a request may arrive in
// the very moment in which its idle connection is to close.
func TestAnswersThatCrossADrain(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		answersThatCross(t, nil, func(c net.Conn) net.Conn { return c })
	})
	t.Run("TLS", func(t *testing.T) { answersThatCross(t, overTLS(t), tlsClient) })
}

func answersThatCross(t *testing.T, wrap func(net.Listener) net.Listener, dial func(net.Conn) net.Conn) {
	const size, clients = 2 << 20, 40 // more than the kernel keeps for who does not read
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			w.Header().Set("Content-Length", itoa(size))
			w.Write(make([]byte, size))
		}
	}))
	defer server.Close()
	for range 3 {
		k := newStack(t, settings{wrap: wrap})
		k.service("web", []string{server.Listener.Addr().String()}, "ingress.host=*")
		peers := make([]*peer, clients)
		for i := range peers {
			c := dial(k.dial().Conn)
			peers[i] = &peer{t, c, bufio.NewReader(c)}
			peers[i].send("GET /small HTTP/1.1", "Host: a.test", "")
			peers[i].status("GET", 200, "")
		}
		var running sync.WaitGroup
		var whole atomic.Int64
		for i, c := range peers {
			if i == clients/2 {
				running.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), long)
					defer cancel()
					if err := k.server.Shutdown(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			io.WriteString(c, "GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n")
		}
		for _, c := range peers {
			running.Go(func() {
				n, _ := io.Copy(io.Discard, c.r)
				switch {
				case n > size:
					whole.Add(1)
				case n > 0:
					t.Errorf("an answer of %d bytes ended after %d", size, n)
				}
			})
		}
		running.Wait()
		t.Logf("%d of %d were answered", whole.Load(), clients)
		k.stop()
	}
}

// TestDrainCutsWhatGoesOn: when the time is over a request that waits for its
// answer, one that uploads, and a silent connection all end.
func TestDrainCutsWhatGoesOn(t *testing.T) {
	k, o := web(t, settings{})
	waits, uploads, silent := k.dial(), k.dial(), k.dial()
	waits.send("GET / HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	uploads.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 1000000", "", "begins")
	o.next().head()
	until(t, "all connections", func() bool { return k.server.Status().Conns == 3 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.server.Shutdown(ctx); err == nil {
		t.Error("nothing was cut")
	}
	for _, c := range []*peer{waits, uploads, silent} {
		c.ended()
	}
	in.ended()
	// The clients have not left.
	if got := k.proxy.Reasons(); got["drain-timeout"] != 2 || got["client-gone"] != 0 {
		t.Errorf("the reasons are %v, want two drain-timeout", got)
	}
}

// flaky fails every other accept as if no descriptor were left.
type flaky struct {
	net.Listener
	n atomic.Int64
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.n.Add(1)%2 == 1 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptErrorsAreWaitedOut(t *testing.T) {
	k, o := web(t, settings{wrap: func(l net.Listener) net.Listener { return &flaky{Listener: l} }})
	for range 3 {
		c := k.dial()
		c.send("GET / HTTP/1.1", "Host: web.example.org", "Connection: close", "")
		until(t, "an accept", func() bool { return k.server.Status().AcceptErrors > 0 })
		in := o.next()
		in.head()
		in.send("HTTP/1.1 200 OK", "Content-Length: 0", "Connection: close", "")
		c.status("GET", 200, "")
	}
}

func TestConnectionLimits(t *testing.T) {
	k, _ := web(t, settings{front: front.Options{MaxConns: 3, MaxConnsPerClient: 2}})
	a, b := k.dial(), k.dial()
	until(t, "two connections", func() bool { return k.server.Status().Conns == 2 })
	k.dial().ended()
	until(t, "its count", func() bool { return k.server.Status().Refused == 1 })
	a.Close()
	b.Close()
	until(t, "room", func() bool { return k.server.Status().Conns == 0 })
}

func TestReadyPath(t *testing.T) {
	ready := atomic.Bool{}
	k, o := web(t, settings{proxy: proxy.Options{ReadyPath: "/.serai/ready", Ready: ready.Load}})
	c := k.dial()
	for _, host := range []string{"127.0.0.1", "nobody.example.org", "[::1]:80"} {
		ready.Store(false)
		c.send("GET /.serai/ready HTTP/1.1", "Host: "+host, "")
		if res, _ := c.answer("GET"); res.StatusCode != 503 {
			t.Errorf("unready, %s was answered %s", host, res.Status)
		}
		ready.Store(true)
		c.send("GET /.serai/ready HTTP/1.1", "Host: "+host, "")
		if res, _ := c.answer("GET"); res.StatusCode != 200 {
			t.Errorf("ready, %s was answered %s", host, res.Status)
		}
	}
	c.send("GET /.serai/ready HTTP/1.1", "Host: web.example.org", "")
	in := o.next() // a route's host has that path for itself
	in.head()
	in.ok("its own")
	c.status("GET", 200, "")
}

func TestHSTSOnlyOverHTTPS(t *testing.T) {
	k, o := web(t, settings{}, "ingress.hsts=max-age=1")
	c := k.dial()
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	in := o.next()
	in.head()
	in.ok("")
	if res, _ := c.answer("GET"); res.Header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS over plain HTTP")
	}
}

package proxy_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"serai/proxy"
)

// TestPolicies has requests changed, and answers, through each engine: what instances
// and clients get is the same.
func TestPolicies(t *testing.T) { playAll(t, policyScenes) }

// sees holds the head that an instance got to lines that it has, and to names that it
// does not have, each with a "!" before it.
func sees(t *testing.T, head string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		name, without := strings.CutPrefix(line, "!")
		if has := strings.Contains(strings.ToLower(head), "\r\n"+strings.ToLower(name)); has == without {
			t.Errorf("%q is there: %v, in %q", name, has, head)
		}
	}
}

// reaches plays a request whose target an instance gets as want.
func reaches(target, want string, lines ...string) func(*testing.T, engine, *instance) {
	return func(t *testing.T, e engine, i *instance) {
		c := e.open(t, request{method: "GET", target: target, fields: []string{id}})
		in := i.next()
		head := in.head()
		if !strings.HasPrefix(head, "GET "+want+" HTTP/1.1\r\n") {
			t.Errorf("%s reached the instance as %q, want %s", target, head, want)
		}
		sees(t, head, lines...)
		in.send(fine)
		answered(t, c, 200, "fine")
	}
}

// isRefused plays a request that no instance gets.
func isRefused(target string) func(*testing.T, engine, *instance) {
	return func(t *testing.T, e engine, i *instance) {
		refused(t, e.open(t, request{method: "GET", target: target, fields: []string{id}}), 400, "bad-rewrite")
		if seen := i.recorded(); len(seen) > 0 {
			t.Errorf("the instance got %q", seen)
		}
	}
}

var pathTags = []string{"ingress.prepend=/app", "ingress.rewrite=^/v1/(.*)$ /$1", "ingress.strip=/api"}

var fieldTags = []string{
	"ingress.request-set=X-Asked: {host}{path} by {client}, {request-id}", "ingress.request-set=X-User: nobody", "ingress.request-set=X-Sni: [{sni}{tls-version}]",
	"ingress.request-remove=Cookie", "ingress.request-remove=X-Debug",
	"ingress.response-set=X-Frame-Options: DENY", "ingress.response-set=X-Request-Id: {request-id}", "ingress.response-remove=Server", "ingress.response-remove=Set-Cookie",
	"ingress.sticky=stay", "ingress.sticky-same-site=strict",
}

// told holds a client's answer to what fieldTags asks for.
func told(t *testing.T, h *head, own bool) {
	t.Helper()
	if h == nil {
		t.Fatal("there is no answer")
	}
	if got := h.fields; !slices.Equal(got["X-Frame-Options"], []string{"DENY"}) || !slices.Equal(got["X-Request-Id"], []string{"4711"}) || got["Server"] != nil {
		t.Errorf("%d has %v", h.status, got)
	}
	cookies := h.fields["Set-Cookie"]
	if own && len(cookies) > 0 || !own && (len(cookies) != 1 || !strings.HasPrefix(cookies[0], "stay=") || !strings.HasSuffix(cookies[0], "; SameSite=Strict")) {
		t.Errorf("%d sets the cookies %q", h.status, cookies)
	}
}

var policyScenes = []scene{
	{name: "strip, rewrite, prepend", tags: pathTags, play: reaches("/api/v1/x?y=/api/v1/", "/app/x?y=/api/v1/", "X-Forwarded-Prefix: /api\r\n")},
	{name: "what does not match", tags: pathTags, play: reaches("/v2/api/v1/x", "/app/v2/api/v1/x", "!X-Forwarded-Prefix")},
	{name: "encoded bytes", tags: pathTags, play: reaches("/v1/a%2Fb%20%c3%a9//c;d?", "/app/a%2Fb%20%c3%a9//c;d?")},
	{name: "out of a prefix", tags: pathTags, reason: "bad-rewrite", play: isRefused("/v1/../../secret")},
	{name: "out of a prefix, encoded", tags: []string{"ingress.rewrite=^/files/(.*)$ /public/$1"}, reason: "bad-rewrite", play: isRefused("/files/%2e%2e%2fsecret")},
	{name: "no path", tags: []string{"ingress.rewrite=^/files/(.*)$ $1"}, reason: "bad-rewrite", play: isRefused("/files/x")},
	{name: "too long a path", tags: []string{"ingress.rewrite=^/files/(.*)$ /$1"}, reason: "bad-rewrite", play: isRefused("/files/" + strings.Repeat("x", 5000))},
	{name: "the whole server", tags: pathTags, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, request{method: "OPTIONS", target: "*", fields: []string{id}})
		in := i.next()
		if head := in.head(); !strings.HasPrefix(head, "OPTIONS * HTTP/1.1\r\n") {
			t.Errorf("the instance got %q", head)
		}
		in.send(fine)
		answered(t, c, 200, "fine")
	}},
	{name: "rewritten again for another attempt", tags: pathTags, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, request{method: "GET", target: "/v1/x", fields: []string{id}})
		first := i.next()
		first.head()
		first.Close()
		in := i.next()
		if head := in.head(); !strings.HasPrefix(head, "GET /app/x HTTP/1.1\r\n") {
			t.Errorf("the instance got %q", head)
		}
		in.send(fine)
		answered(t, c, 200, "fine")
	}},
	{name: "fields changed", tags: fieldTags, play: func(t *testing.T, e engine, i *instance) {
		c := e.open(t, request{method: "POST", target: "/a%0d?b", length: -1, body: "some", fields: []string{
			id, "Cookie: a=b", "X-User: admin", "X_User: admin", "x-user: root", "X-Debug: 1", "X-Kept: 1", "X-Asked: me", "TE: trailers",
		}})
		in := i.next()
		head := in.head()
		sees(t, head, "X-Asked: a.test/a%0d by ", "X-User: nobody\r\n", "X-Sni: []\r\n", "X-Kept: 1\r\n", "!Cookie", "!X_User", "!X-Debug", "!X-Asked: me")
		if n := strings.Count(strings.ToLower(head), "x-user:"); n != 1 || !strings.Contains(head, ", 4711\r\n") {
			t.Errorf("%d users in %q", n, head)
		}
		in.read("4\r\nsome\r\n")
		c.finish("X-User: admin", "X_user: admin", "X-Debug: 1", "X-Sum: 1")
		in.read("0\r\nX-Sum: 1\r\n\r\n")
		in.send("HTTP/1.1 200 OK\r\nServer: x\r\nx-frame-options: SAMEORIGIN\r\nX-Request-Id: 1\r\nSet-Cookie: a=b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nServer: x\r\nX-Sum: 1\r\n\r\n")
		told(t, c.head(), false)
		if body, trailers, whole := c.rest(); body != "abc" || !whole || !slices.Equal(trailers, []string{"X-Sum: 1"}) {
			t.Errorf("the client gets %q, %q, whole %v", body, trailers, whole)
		}
	}},
	{name: "fields of serai's own answer", tags: append(fieldTags, "ingress.max-body=1"), reason: "body-too-large", play: func(t *testing.T, e engine, i *instance) {
		h := answered(t, e.open(t, post(4, "body")), 413, "*")
		told(t, h, true)
		if h.fields.Get("X-Serai-Reason") != "body-too-large" {
			t.Errorf("answered %v", h.fields)
		}
	}},
	{name: "fields of a redirect", tags: append(fieldTags, "ingress.redirect=https"), reason: "redirect", play: func(t *testing.T, e engine, i *instance) {
		told(t, answered(t, e.open(t, get()), 308, "*"), true)
	}},
	{name: "fields of a refused path", tags: append(fieldTags, "ingress.prepend=/app"), reason: "bad-rewrite", play: func(t *testing.T, e engine, i *instance) {
		told(t, answered(t, e.open(t, request{method: "GET", target: "/../x", fields: []string{id}}), 400, "*"), true)
	}},
	{name: "fields of a tunnel", tags: fieldTags, play: func(t *testing.T, e engine, i *instance) {
		r := get()
		r.upgrade, r.fields = "echo", append(r.fields, "X-User: admin")
		c := e.open(t, r)
		in := i.next()
		sees(t, in.head(), "X-User: nobody\r\n", "Upgrade: echo\r\n")
		in.send("HTTP/1.1 103 Early Hints\r\nServer: x\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nServer: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello")
		if h := c.head(); h == nil || h.status != 103 || h.fields.Get("X-Frame-Options") != "" {
			t.Errorf("the client is told %v", h)
		}
		told(t, c.head(), false)
		c.read("hello")
		in.Conn.(*net.TCPConn).CloseWrite()
		c.rest()
		c.finish()
		in.ended()
	}},
}

// TestRequestIDOfOwnAnswer: one that nobody brought is made, once, and is the log's, too.
func TestRequestIDOfOwnAnswer(t *testing.T) {
	for name, start := range engines {
		for tag, status := range map[string]int{"ingress.redirect=https": 308, "ingress.weight=0": 503} {
			var log record
			l := proxy.NewAccessLog(&log, 1)
			var got string
			text := written(t, l, &log, func() {
				n := newNode(t, proxy.Options{Log: l.Log}, speaksHTTP1(), []string{newInstance(t).address}, tag, "ingress.wait=0s", "ingress.response-set=X-Request-Id: {request-id}")
				e := start(t, n)
				h := answered(t, e.open(t, request{method: "GET", target: "/"}), status, "*")
				got = h.fields.Get("X-Request-Id")
				h = answered(t, e.open(t, request{method: "GET", target: "/", fields: []string{id}}), status, "*")
				if own := h.fields.Get("X-Request-Id"); own != "4711" {
					t.Errorf("%s, %s: the client is told %q of its own", name, tag, own)
				}
				until(t, "the end of the request", func() bool { return n.proxy.Inflight() == 0 })
			})
			if len(got) != 16 || !strings.Contains(text, `"request_id":"`+got+`"`) || !strings.Contains(text, `"request_id":"4711"`) {
				t.Errorf("%s, %s: the client is told %q, the log says %s", name, tag, got, text)
			}
		}
	}
}

// TestPoliciesOverHTTP2: an instance of HTTP/2, and of gRPC, gets path and fields alike,
// names in lower case.
func TestPoliciesOverHTTP2(t *testing.T) {
	address := newInstanceHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "x")
		io.WriteString(w, r.RequestURI+" "+strings.Join(r.Header["X-User"], ",")+" "+r.Header.Get("X-Asked")+" "+strings.Join(r.Header["Cookie"], ","))
	})
	for name, start := range engines {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, proxy.Options{}, speaksHTTP2(), []string{address}, append(fieldTags, "ingress.scheme=grpc", "ingress.rewrite=^/old\\.([A-Z].*)$ /new.$1")...)
			e := start(t, n)
			c := e.open(t, request{method: "GET", target: "/old.Service/Call?x", fields: []string{id, "X-User: admin", "x_user: admin", "Cookie: a=b", "TE: trailers"}})
			h := c.head()
			told(t, h, false)
			body, _, _ := c.rest()
			if !strings.HasPrefix(body, "/new.Service/Call?x nobody a.test/old.Service/Call by ") || !strings.HasSuffix(body, ", 4711 ") {
				t.Errorf("the instance got %q", body)
			}
			if name != "HTTP/2" {
				return
			}
			// A call whose path cannot be rewritten is refused in the words of gRPC.
			c = e.open(t, request{method: "POST", target: "/old.Service/" + strings.Repeat("x", 5000), fields: []string{id, "Content-Type: application/grpc", "TE: trailers"}})
			h = c.head()
			told(t, h, true)
			if h.status != 200 || h.fields.Get("Grpc-Status") != "13" || h.fields.Get("X-Serai-Reason") != "bad-rewrite" {
				t.Errorf("answered %d %v", h.status, h.fields)
			}
		})
	}
}

// TestAccessLogOff: requests of the route have no line, whoever answers; they are
// counted. Those of another route have theirs.
func TestAccessLogOff(t *testing.T) {
	for name, start := range engines {
		var log record
		l := proxy.NewAccessLog(&log, 1)
		text := written(t, l, &log, func() {
			i := newInstance(t)
			n := newNode(t, proxy.Options{Log: l.Log}, speaksHTTP1(), []string{i.address}, "ingress.access-log=off", "ingress.prepend=/app",
				"ingress.other.host="+host, "ingress.other.path=/logged", "ingress.other.redirect=https")
			e := start(t, n)
			c := e.open(t, request{method: "GET", target: "/quiet"})
			in := i.next()
			in.head()
			in.send(fine)
			answered(t, c, 200, "fine")
			refused(t, e.open(t, request{method: "GET", target: "/quiet/../x"}), 400, "bad-rewrite")
			answered(t, e.open(t, request{method: "GET", target: "/logged"}), 308, "*")
			until(t, "the end of the requests", func() bool { return n.proxy.Inflight() == 0 })
			for _, r := range n.router.Current().Routes() {
				if count := r.Stats.Snapshot(); r.Name == "" && count.Requests() != 2 {
					t.Errorf("%s: the route has counted %+v", name, count)
				}
			}
			if got := n.proxy.Reasons(); got["bad-rewrite"] != 1 {
				t.Errorf("%s: the reasons are %v", name, got)
			}
		})
		if strings.Contains(text, "quiet") || strings.Count(text, `"path":"/logged"`) != 1 {
			t.Errorf("%s: the log says %s", name, text)
		}
		for line := range bytes.Lines([]byte(text)) {
			if !json.Valid(line) {
				t.Errorf("%s: %q is no JSON", name, line)
			}
		}
	}
}

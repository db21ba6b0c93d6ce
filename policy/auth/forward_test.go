package auth

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/policy"
	"serai/wire"
)

// long bounds every wait of these tests; nothing takes nearly as long.
const long = time.Minute

// service is an auth service in a test's hands.
func service(t *testing.T, serve http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(serve)
	t.Cleanup(s.Close)
	return s.URL
}

// raw is a service that answers each request with these bytes, and closes.
func raw(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(long))
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				once, endless := strings.CutSuffix(answer, "forever")
				_, err := io.WriteString(c, once)
				for err == nil && endless {
					_, err = io.WriteString(c, strings.Repeat("x", 4096))
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return "http://" + l.Addr().String()
}

func newForward(t *testing.T, o ForwardOptions) *Forward {
	t.Helper()
	f, err := NewForward("sso", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// TestQuestion: what the service is told, and what not.
func TestQuestion(t *testing.T) {
	var got *http.Request
	url := service(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Add("Remote-User", "ann")
		w.Header().Add("Remote-Groups", "a")
		w.Header().Add("Remote-Groups", "b")
		w.Header().Add("X-Other", "not copied")
		w.Header().Add("Set-Cookie", "session=new")
		w.WriteHeader(202)
	})
	f := newForward(t, ForwardOptions{URL: url + "/verify?x=1", Copy: []string{"Remote-User", "Remote-Groups", "Remote-Email"}})
	a := ask("Cookie: session=old", "Authorization: Bearer t", "Accept: text/html", "Accept-Encoding: gzip", "If-None-Match: \"1\"", "Range: bytes=0-1",
		"Content-Type: text/plain", "Content-Length: 4", "Expect: 100-continue", "X-Forwarded-Method: DELETE", "X-Forwarded-Uri: /public", "X-Own: 1")
	a.head.Method, a.head.Target = []byte("POST"), []byte("/a?b=c")
	if v := verdict(f, a); v != "pass Remote-User: ann\r\nRemote-Groups: a\r\nRemote-Groups: b\r\n" {
		t.Fatalf("%q", v)
	}
	if c := lines(a.learned.Answer); c != "Set-Cookie: session=new\r\n" {
		t.Errorf("the client is to get %q", c)
	}
	if got.Method != "GET" || got.URL.String() != "/verify?x=1" || "http://"+got.Host != url {
		t.Errorf("asked %s %s of %s", got.Method, got.URL, got.Host)
	}
	for name, want := range map[string]string{
		"X-Forwarded-Method": "POST", "X-Forwarded-Uri": "/a?b=c", "Cookie": "session=old", "Authorization": "Bearer t", "Accept": "text/html", "X-Own": "1", "X-Serai-Hops": "1",
		"Accept-Encoding": "", "If-None-Match": "", "Range": "", "Content-Type": "", "Content-Length": "", "Expect": "", "User-Agent": "",
	} {
		if v := strings.Join(got.Header.Values(name), "|"); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	if e := f.Explain(); strings.Contains(e, "x=1") || !strings.Contains(e, url) {
		t.Errorf("explained as %q", e)
	}
}

// TestAmbiguousPath: where a path leads may depend on who reads its dot segments. The service
// is not asked then, and nobody gets in.
func TestAmbiguousPath(t *testing.T) {
	var questions atomic.Int32
	url := service(t, func(http.ResponseWriter, *http.Request) { questions.Add(1) })
	f := newForward(t, ForwardOptions{URL: url, TrustForwarded: true})
	for _, path := range []string{
		"/public/../admin", "/public/..%2fadmin", "/public/%2e%2e/admin", "/public%2F..%2fadmin", "/public/..;/admin", "/public/..;x=y/admin", `/public/..\admin`, "/public/.%2E%5cadmin",
		"/a/./b", "/..", "/a/..", "/a/.", "/public/..%00/admin", "/public/..%3b/admin", "/public/..%20/admin", "//..//admin",
	} {
		a := ask()
		a.head.Target, a.head.Path = []byte(path+"?x"), []byte(path)
		if v := verdict(f, a); v != "400 disguised-path" {
			t.Errorf("%s: %s", path, v)
		}
		a = ask("X-Forwarded-Uri: " + path)
		a.trusted, a.head.Path = true, []byte("/a")
		if v := verdict(f, a); v != "400 disguised-path" {
			t.Errorf("said by a trusted proxy, %s: %s", path, v)
		}
	}
	if n := questions.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	for _, path := range []string{"/", "*", "/a.b", "/...", "/..a", "/a..", "/.well-known/x", "/a%2Fb", "//a", "/%61", "/a;..", "/a%252e%252e/b", "/x%3f..", "/a/b;c/d"} {
		a := ask("X-Forwarded-Uri: /a?x=/../y")
		a.trusted, a.head.Path = true, []byte(path)
		if v := verdict(f, a); v != "pass " {
			t.Errorf("%s: %s", path, v)
		}
	}
}

// TestPlainHost: a host has one spelling, whatever a client has made of it.
func TestPlainHost(t *testing.T) {
	for host, want := range map[string]string{
		"app.example.org": "app.example.org", "APP.Example.org": "app.example.org", "app.example.org.": "app.example.org", "App.example.org.:8443": "app.example.org:8443",
		"[2001:DB8::1]": "[2001:db8::1]", "[2001:DB8::1]:80": "[2001:db8::1]:80", "192.0.2.1:80": "192.0.2.1:80", "": "", ".": "", ":80": ":80", "app.example.org:": "app.example.org:",
	} {
		if got := plainHost(host); got != want {
			t.Errorf("%q is spelled %q, want %q", host, got, want)
		}
	}
}

// TestTrustForwarded: only a trusted proxy's word counts, and only where the block says so.
func TestTrustForwarded(t *testing.T) {
	var got atomic.Value
	url := service(t, func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("X-Forwarded-Method") + " " + r.Header.Get("X-Forwarded-Uri"))
	})
	for _, c := range []struct {
		option, peer bool
		want         string
	}{{false, false, "GET /a?b"}, {true, false, "GET /a?b"}, {false, true, "GET /a?b"}, {true, true, "PUT /said"}} {
		a := ask("X-Forwarded-Method: PUT", "X-Forwarded-Uri: /said")
		a.trusted = c.peer
		f := newForward(t, ForwardOptions{URL: url, TrustForwarded: c.option})
		if v := verdict(f, a); v != "pass " || got.Load() != c.want {
			t.Errorf("%+v: %q, the service was told %q", c, v, got.Load())
		}
	}
	// A proxy that adds its own field to a stranger's has said nothing.
	a := ask("X-Forwarded-Uri: /public", "X-Forwarded-Method: OPTIONS", "X-Forwarded-Uri: /said", "X-Forwarded-Method: PUT")
	a.trusted = true
	if v := verdict(newForward(t, ForwardOptions{URL: url, TrustForwarded: true}), a); v != "pass " || got.Load() != "GET /a?b" {
		t.Errorf("said twice: %q, the service was told %q", v, got.Load())
	}
}

// TestDenied: what the service answers is what the client gets.
func TestDenied(t *testing.T) {
	url := raw(t, "HTTP/1.1 302 Found\r\nDate: today\r\nLocation: https://login.test/?rd=x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nWWW-Authenticate: Bearer\r\n"+
		"Content-Type: text/html\r\nX-Serai-Reason: no-host\r\nX_Serai_Reason: no-host\r\nX-Forwarded-Host: evil.test\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"+
		"Content-Length: 12\r\n\r\n<a>login</a>")
	reply, asked := &policy.Reply{Values: &wire.Values{}}, ask()
	if !newForward(t, ForwardOptions{URL: url}).Request(asked, reply) {
		t.Fatal("the request passes")
	}
	if got := lines(asked.Learned().Answer); got != "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" {
		t.Errorf("the cookies are\n%s", got)
	}
	want := "Content-Type: text/html\r\nLocation: https://login.test/?rd=x\r\nWww-Authenticate: Bearer\r\nCache-Control: no-store\r\n"
	if got := lines(reply.Fields); reply.Status != 302 || reply.Reason != "auth-denied" || string(reply.Body) != "<a>login</a>" || got != want {
		t.Errorf("%d %s %q with\n%s, want\n%s", reply.Status, reply.Reason, reply.Body, got, want)
	}
}

// TestStatuses: 2xx passes, and nothing else.
func TestStatuses(t *testing.T) {
	var status atomic.Int64
	url := service(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(status.Load())) })
	f := newForward(t, ForwardOptions{URL: url})
	for s := 200; s < 999; s++ {
		want := fmt.Sprint(s, " auth-denied")
		switch {
		case s < 300:
			want = "pass "
		case s == 304 || s > 599:
			want = "503 auth-unavailable"
		}
		status.Store(int64(s))
		if got := verdict(f, ask()); got != want {
			t.Errorf("%d: %q, want %q", s, got, want)
		}
	}
}

// TestGarbage: a service that fails, in whatever way, lets nobody in.
func TestGarbage(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\n"
	for name, answer := range map[string]string{
		"nothing":               "",
		"garbage":               "SSH-2.0-OpenSSH_9.6\r\n",
		"no status":             "HTTP/1.1 \r\n\r\n",
		"an interim answer":     "HTTP/1.1 100 Continue\r\n\r\n",
		"many interim answers":  strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 2000) + head + "\r\n",
		"another protocol":      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		"half a head":           head + "X: 1\r\n",
		"a short body":          head + "Content-Length: 10\r\n\r\nabc",
		"a long body":           head + "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000),
		"an endless body":       head + "\r\n" + "forever",
		"an endless head":       head + "X: forever",
		"a huge head":           head + "X: " + strings.Repeat("x", 2*DefaultAnswer) + "\r\n\r\n",
		"two lengths":           head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a bad chunk":           head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"a control character":   head + "Remote-User: a\x01b\r\nContent-Length: 0\r\n\r\n",
		"a bare CR in a field":  head + "Remote-User: a\rX-Admin: 1\r\nContent-Length: 0\r\n\r\n",
		"a zero byte":           head + "Remote-User: a\x00\r\nContent-Length: 0\r\n\r\n",
		"a field without colon": head + "Remote-User\r\n\r\n",
		"status 2000":           "HTTP/1.1 2000 OK\r\n\r\n",
		"status 099":            "HTTP/1.1 099 OK\r\n\r\n",
	} {
		f := newForward(t, ForwardOptions{URL: raw(t, answer), Copy: []string{"Remote-User"}, Timeout: 20 * time.Second})
		a := ask()
		if got := verdict(f, a); got != "503 auth-unavailable" || len(a.learned.Forward) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestDead: nobody listens, or what listens never answers.
func TestDead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := "http://" + l.Addr().String()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	for name, c := range map[string]struct{ url, detail string }{
		"silent": {silent, "does not answer in time"},
		"dead":   {"http://" + dead.Addr().String(), "cannot be reached"},
		"a name": {"http://auth.invalid", ""},
	} {
		reply := &policy.Reply{Values: &wire.Values{}}
		f := newForward(t, ForwardOptions{URL: c.url + "/token-in-the-path", Timeout: 100 * time.Millisecond})
		if !f.Request(ask(), reply) || reply.Status != 503 || reply.Reason != "auth-unavailable" || !strings.Contains(reply.Detail, c.detail) {
			t.Errorf("%s: %d %s %q", name, reply.Status, reply.Reason, reply.Detail)
		}
		if strings.Contains(reply.Detail, "token") || strings.Contains(reply.Detail, "127.0.0.1") {
			t.Errorf("%s: the client is told %q", name, reply.Detail)
		}
	}
}

// TestGone: a question ends when its client leaves.
func TestGone(t *testing.T) {
	arrived, stop := make(chan struct{}), make(chan struct{})
	url := service(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	})
	defer close(stop)
	f := newForward(t, ForwardOptions{URL: url, Timeout: time.Minute})
	a := ask()
	a.gone = make(chan struct{})
	go func() { <-arrived; close(a.gone) }()
	if got := verdict(f, a); got != "0 " {
		t.Errorf("%q", got)
	}
	if taken, clients := f.places.Taken(); taken != 0 || clients != 0 {
		t.Errorf("%d under way, of %d clients", taken, clients)
	}
}

// TestShares: a client whose questions take long takes no place of others, and all
// together take no more than there are.
func TestShares(t *testing.T) {
	goOn := make(chan struct{})
	var arrived atomic.Int64
	url := service(t, func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		<-goOn
	})
	f := newForward(t, ForwardOptions{URL: url, MaxInflight: 8, Timeout: time.Minute})
	var all sync.WaitGroup
	var passed atomic.Int64
	from := func(n byte) *asked {
		a := ask()
		a.client = netip.AddrFrom4([4]byte{192, 0, 2, n})
		return a
	}
	for n := range 4 {
		for range 2 {
			all.Go(func() {
				if verdict(f, from(byte(n))) == "pass " {
					passed.Add(1)
				}
			})
		}
		for end := time.Now().Add(long); arrived.Load() < int64(2*n+2); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a question does not arrive")
			}
		}
		if n < 3 {
			if got := verdict(f, from(byte(n))); got != "429 auth-busy" {
				t.Errorf("one more of client %d: %q", n, got)
			}
		}
	}
	if got := verdict(f, from(99)); got != "503 auth-busy" {
		t.Errorf("one more of all: %q", got)
	}
	close(goOn)
	all.Wait()
	if taken, clients := f.places.Taken(); passed.Load() != 8 || taken != 0 || clients != 0 {
		t.Errorf("%d passed, %d under way, %d clients", passed.Load(), taken, clients)
	}
}

// TestLooped: no question is asked for a request that has passed serai too often.
func TestLooped(t *testing.T) {
	f := newForward(t, ForwardOptions{URL: "http://127.0.0.1:1"})
	a := ask()
	a.looped = true
	if got := verdict(f, a); got != "508 loop" {
		t.Errorf("%q", got)
	}
}

func TestForwardOptions(t *testing.T) {
	for _, o := range []ForwardOptions{
		{}, {URL: "/verify"}, {URL: "ftp://a.test"}, {URL: "http://"}, {URL: "http://:80"}, {URL: "http://user:secret@a.test/"}, {URL: "http://a.test/%zzsecret"}, {URL: "http://a.test/#x"},
		{URL: "http://a.test", Copy: []string{"Host"}}, {URL: "http://a.test", Copy: []string{"X-Forwarded-For"}}, {URL: "http://a.test", Copy: []string{"Cookie"}},
		{URL: "http://a.test", Copy: []string{"a_b"}}, {URL: "http://a.test", Copy: []string{""}}, {URL: "http://a.test", Timeout: -1}, {URL: "http://a.test", Timeout: time.Hour},
		{URL: "http://a.test", MaxInflight: -1}, {URL: "http://a.test", MaxInflight: 1 << 20},
	} {
		if _, err := NewForward("sso", o); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := NewForward("sso", ForwardOptions{URL: "https://a.test/verify", Copy: []string{"Authorization", "Remote-User", "X-Forwarded-User"}}); err != nil {
		t.Error(err)
	}
}

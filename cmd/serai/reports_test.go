package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"serai/internal/testnet"
	"serai/nomad"
)

// report is a case from public reports about other proxies: what is sent on one
// connection, what an instance answers, and what both see of it. In all texts a
// line ends in \n, which is sent as CRLF.
type report struct {
	name   string
	send   string
	answer string // of the instance to each request; the plain one when empty
	// want are the final and interim answers, each by status and reason, and
	// then "on" when the connection takes another request, else "end".
	want string
	// alone: nothing follows on the connection. What is unread when one is closed
	// makes a reset of it, which destroys what the other end has not read.
	alone bool
	// seen and got are what the instance and the client must see, and behind "!"
	// must not see, separated by "|".
	seen, got string
}

const (
	plainAnswer = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"
	lastRequest = "GET /last HTTP/1.1\nHost: web.example.org\nX-Forwarded-Proto: https\nConnection: close\n\n"
	lastAnswer  = "HTTP/1.1 200 OK\nContent-Length: 4\n\nlast"
	// closes, at the end of an answer, has the instance close behind it.
	closes = "<closes>"
)

// crlf writes a text as it is sent.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// stage is an instance whose answer is that of the case under way, and which
// keeps what it was sent.
type stage struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	answer string
	seen   []string
	cut    int // requests that did not come whole, since begin
}

func newStage(t *testing.T) *stage {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{listener: l}
	s.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.running.Wait()
	})
	return s
}

func (s *stage) registration(name string, tags ...string) nomad.Registration {
	a := tcp(s.listener.Addr().String())
	return nomad.Registration{ServiceName: name, Address: a.IP.String(), Port: a.Port, Tags: tags}
}

// begin sets the scene for a case.
func (s *stage) begin(answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.seen, s.cut = answer, nil, 0
}

// end returns what was sent in the case.
func (s *stage) end() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.seen, "")
}

// cuts returns how many requests of the case did not come whole.
func (s *stage) cuts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

func (s *stage) serve(c net.Conn) {
	defer c.Close()
	notes := &notes{from: c}
	r := bufio.NewReader(notes)
	for {
		c.SetDeadline(time.Now().Add(long))
		q, err := http.ReadRequest(r)
		if err == nil && q.Header.Get("Expect") == "" {
			_, err = io.Copy(io.Discard, q.Body)
		}
		if len(notes.seen) == 0 {
			return
		}
		answer := lastAnswer
		s.mu.Lock()
		if err != nil || q.URL.Path != "/last" {
			s.seen = append(s.seen, string(notes.seen))
			answer = s.answer
		}
		if err != nil {
			s.cut++
		}
		s.mu.Unlock()
		notes.seen = nil
		if err != nil {
			return
		}
		answer, closing := strings.CutSuffix(answer, closes)
		if _, err := io.WriteString(c, crlf(answer)); err != nil || closing {
			return
		}
		// What was not waited for is no request of a later case.
		if _, err := io.Copy(io.Discard, q.Body); err != nil {
			return
		}
		notes.seen = nil
	}
}

var methodsSent = regexp.MustCompile(`(?m)^([!-~]+) \S+ HTTP/1\.[01]\r$`)

// outcome reads all answers on a connection, to requests of those methods.
func outcome(t *testing.T, c net.Conn, sent string) (outcome, got string) {
	all, err := io.ReadAll(c)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Error("the connection does not end")
	}
	methods := methodsSent.FindAllStringSubmatch(sent, -1)
	from := bufio.NewReader(bytes.NewReader(all))
	var answers []string
	for {
		method := "GET"
		if len(methods) > 0 {
			method = methods[0][1]
		}
		a, err := http.ReadResponse(from, &http.Request{Method: method})
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			return strings.Join(append(answers, "end"), ", "), string(all)
		}
		if err != nil {
			return strings.Join(append(answers, err.Error()), ", "), string(all)
		}
		body, err := io.ReadAll(a.Body)
		if string(body) == "last" {
			return strings.Join(append(answers, "on"), ", "), string(all)
		}
		text := strings.TrimSpace(fmt.Sprint(a.StatusCode, " ", a.Header.Get("X-Serai-Reason")))
		if err != nil {
			text += " cut"
		}
		answers = append(answers, text)
		if a.StatusCode >= 200 && len(methods) > 0 {
			methods = methods[1:]
		}
		if a.StatusCode == 101 {
			rest, _ := io.ReadAll(from)
			return strings.Join(append(answers, fmt.Sprintf("%q", rest)), ", "), string(all)
		}
	}
}

// missing returns what of a list is not in text, or is and should not be.
func missing(list, text string) (bad []string) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for _, part := range strings.Split(list, "|") {
		unwanted, not := strings.CutPrefix(part, "!")
		if part != "" && part != "-" && strings.Contains(text, unwanted) == not {
			bad = append(bad, part)
		}
	}
	return bad
}

// run plays the cases, each on a connection of its own.
func (s *stage) run(t *testing.T, address string, cases []report) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.answer == "" {
				c.answer = plainAnswer
			}
			s.begin(c.answer)
			if !c.alone {
				c.send += lastRequest
			}
			sent := crlf(c.send)
			conn := dialFrom(t, "127.0.0.1", address)
			io.WriteString(conn, sent)
			got, all := outcome(t, conn, sent)
			if strings.Contains(c.want, "400 bad-chunk") || strings.Contains(c.want, "400 bad-trailer") {
				// The instance sees such a request end later, and not in the next case.
				until(t, "its end at the instance", func() bool { return s.cuts() > 0 })
			}
			seen := s.end()
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if bad := missing(c.seen, seen); bad != nil || c.seen == "-" && seen != "" {
				t.Errorf("the instance does not see as it should: %q", bad)
			}
			if bad := missing(c.got, all); bad != nil {
				t.Errorf("the client does not see as it should: %q", bad)
			}
			if t.Failed() {
				t.Logf("instance: %q", seen)
				t.Logf("client: %q", all)
			}
		})
	}
}

// to begins a GET request for a host.
func to(host string) string { return "GET / HTTP/1.1\nHost: " + host + "\n" }

const web = "GET / HTTP/1.1\nHost: web.example.org\n"

// TestReports is what others' users have reported, tried here.
func TestReports(t *testing.T) {
	s := newStage(t)
	_, address := serveStatic(t, s.services(), "--retry-share=0", "--h2c=off")
	t.Run("framing", func(t *testing.T) { s.run(t, address, framingReports) })
	t.Run("answers", func(t *testing.T) { s.run(t, address, answerReports) })
	t.Run("fields", func(t *testing.T) { s.run(t, address, fieldReports) })
	t.Run("targets", func(t *testing.T) { s.run(t, address, targetReports) })
	t.Run("hosts", func(t *testing.T) { s.run(t, address, hostReports) })
	t.Run("connections", func(t *testing.T) { s.run(t, address, connectionReports) })
	t.Run("routes", func(t *testing.T) { s.run(t, address, routeReports) })
	t.Run("more", func(t *testing.T) { s.run(t, address, moreReports) })
}

func (s *stage) services() []nomad.Registration {
	list := [][]string{
		{"ingress.host=web.example.org"},
		{"ingress.host=api.example.org", "ingress.path=/api", "ingress.strip=/api"},
		{"ingress.host=paths.example.org", "ingress.path=/a,/a/b,/enc%2Fx", "ingress.e.host=paths.example.org", "ingress.e.path-exact=/exact,/slash/"},
		{"ingress.host=*.wild.example.org"},
		{"ingress.host=small.example.org", "ingress.max-body=10"},
		{"ingress.host=secure.example.org", "ingress.redirect=https"},
		{"ingress.host=secure301.example.org", "ingress.redirect=https", "ingress.redirect-status=301"},
		{"ingress.host=moved.example.org", "ingress.redirect=https://new.example.org{path}?{query}", "ingress.redirect-status=302"},
		{"ingress.host=conds.example.org", "ingress.method=POST,PURGE", "ingress.h.host=conds.example.org", "ingress.h.header=X-Env: beta", "ingress.q.host=conds.example.org", "ingress.q.query=v=2"},
		{"ingress.host=sticky.example.org", "ingress.sticky=sid"},
		{"ingress.host=named.example.org", "ingress.upstream-host=inner.example.org:8080"},
		{"ingress.host=192.0.2.7,[2001:db8::7]"},
		{"ingress.host=quick.example.org", "ingress.timeout=200ms", "ingress.retries=0"},
	}
	var all []nomad.Registration
	for i, tags := range list {
		all = append(all, s.registration(fmt.Sprintf("s%d", i), tags...))
	}
	return all
}

// TestReportsOfSilence: what is said to a client that stops in the middle. All stop
// at once, since each waits for its time.
func TestReportsOfSilence(t *testing.T) {
	s := newStage(t)
	s.begin(plainAnswer)
	_, address := serveStatic(t, s.services(), "--h2c=off", "--head-timeout=2s", "--body-idle=2s", "--keep-alive=2s")
	t.Run("all", func(t *testing.T) {
		for _, c := range silenceReports {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				conn := dialFrom(t, "127.0.0.1", address)
				io.WriteString(conn, crlf(c.send))
				if got, all := outcome(t, conn, crlf(c.send)); got != c.want {
					t.Errorf("got %s, want %s: %q", got, c.want, all)
				}
			})
		}
	})
	if bad := missing("!Content-Length: 9", s.end()); bad != nil {
		t.Error("an instance was sent a small body that had not come whole")
	}
}

// TestReportsOfOneForAll: one service takes every host, over https alone, behind a
// balancer that is trusted. What strangers write is in no line of the log but as a
// value, and makes no metric.
func TestReportsOfOneForAll(t *testing.T) {
	s := newStage(t)
	lines := filepath.Join(t.TempDir(), "access.log")
	admin := testnet.Address(t)
	p, address := serveStatic(t, []nomad.Registration{s.registration("all", "ingress.host=*")},
		"--https-only", "--trusted-proxies=127.0.0.1", "--access-log="+lines, "--admin="+admin, "--access-log-checks")
	s.run(t, address, balancerReports)
	metrics := metric(admin, "serai_")
	if !strings.Contains(metrics, "serai_requests_total") {
		t.Errorf("no metrics: %s", metrics)
	}
	if bad := missing("!evil|!"+strangeMethod+"|!strange", strings.ToLower(metrics)); bad != nil {
		t.Errorf("metrics have what strangers wrote: %q", bad)
	}
	p.stop()
	if err := p.wait(t); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(lines)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil || !utf8.Valid(line) || bytes.ContainsFunc(line[:len(line)-1], unicode.IsControl) || fields["msg"] != "request" {
			t.Errorf("line %d, %v: %q", n, err, line)
		}
	}
	if n < len(balancerReports) {
		t.Errorf("%d lines for %d requests", n, len(balancerReports))
	}
}

// TestReportsOfCookies: of several cookies of one name each may be ours.
func TestReportsOfCookies(t *testing.T) {
	a, b := newStage(t), newStage(t)
	a.begin("HTTP/1.1 200 OK\nContent-Length: 1\n\na")
	b.begin("HTTP/1.1 200 OK\nContent-Length: 1\n\nb")
	_, address := serveStatic(t, []nomad.Registration{
		a.registration("sticky", "ingress.host=sticky.example.org", "ingress.sticky=sid"),
		b.registration("sticky", "ingress.host=sticky.example.org", "ingress.sticky=sid"),
		a.registration("canary", "ingress.host=canary.example.org"),
		b.registration("canary", "ingress.host=canary.example.org", "ingress.canary=cookie:new=1"),
	})
	ask := func(host, cookies string) (body, set string) {
		c := dialFrom(t, "127.0.0.1", address)
		io.WriteString(c, crlf(to(host)+cookies+"Connection: close\n\n"))
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		set, _, _ = strings.Cut(res.Header.Get("Set-Cookie"), ";")
		return string(text), set
	}
	var mine, ours string
	until(t, "both instances", func() bool { mine, ours = ask("sticky.example.org", ""); return mine == "b" })
	until(t, "the canary", func() bool { body, _ := ask("canary.example.org", "Cookie: new=1\n"); return body == "b" })
	until(t, "the instance beside it", func() bool { body, _ := ask("canary.example.org", ""); return body == "a" })
	for _, cookies := range []string{
		"Cookie: OURS\n", "Cookie: a=b;OURS;c=d\n", "Cookie: OURS ; c=d\n", "Cookie: sid=x; OURS\n", "Cookie: sid=x\nCookie: OURS\n",
		"Cookie: sid=; sid=\"\"; OURS\n", "Cookie: " + strings.Repeat("a=b; ", 300) + "OURS\n", "Cookie: sid; OURS\n", "Cookie: ;; OURS;;\n",
	} {
		for range 8 {
			if body, set := ask("sticky.example.org", strings.ReplaceAll(cookies, "OURS", ours)); body != mine || set != "" {
				t.Errorf("with %.40q: instance %s, and the cookie %q again", cookies, body, set)
			}
		}
	}
	for _, cookies := range []string{"Cookie: SID=VALUE\n", "Cookie: xsid=VALUE\n", "Cookie: sid=VALUEx\n", "Cookie: sid=" + strings.Repeat("; sid=", 5000) + "\n"} {
		if _, set := ask("sticky.example.org", strings.ReplaceAll(cookies, "VALUE", strings.TrimPrefix(ours, "sid="))); set == "" {
			t.Errorf("with %.40q no cookie is set", cookies)
		}
	}
	for cookies, want := range map[string]string{
		"": "a", "Cookie: new=1\n": "b", "Cookie: new=2; new=1\n": "b", "Cookie: new=\"1\"\n": "b", "Cookie: new=11\n": "a", "Cookie: anew=1\n": "a", "Cookie: new\n": "a",
	} {
		if body, _ := ask("canary.example.org", cookies); body != want {
			t.Errorf("with %q: instance %s, want %s", cookies, body, want)
		}
	}
}

// TestReportsOfTLS: which name, and which host, over which protocol.
func TestReportsOfTLS(t *testing.T) {
	s := newStage(t)
	dir, issuer := t.TempDir(), authority(t)
	issuer.write(t, dir, "default", "default.example.org")
	issuer.write(t, dir, "web.example.org", "web.example.org")
	issuer.write(t, dir, "small.example.org", "small.example.org")
	secure := testnet.Address(t)
	serveStatic(t, s.services(), "--https="+secure, "--cert-dir="+dir)
	until(t, "the HTTPS listener", func() bool {
		c, err := net.Dial("tcp", secure)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	for _, c := range []struct {
		name, server, host string
		config             *tls.Config
		want               string
	}{
		{name: "its name", server: "web.example.org", host: "web.example.org", want: "200, end"},
		{name: "upper case", server: "WEB.example.ORG", host: "web.example.org", want: "200, end"},
		{name: "host in upper case, a dot and a port", server: "web.example.org", host: "Web.Example.Org.:8443", want: "200, end"},
		{name: "host of another certificate", server: "web.example.org", host: "small.example.org", want: "421 misdirected, end"},
		{name: "unknown host", server: "web.example.org", host: "none.example.org", want: "421 misdirected, end"},
		{name: "no name", host: "web.example.org", want: "200, end"},
		{name: "an address as name", server: "192.0.2.7", host: "web.example.org", want: "200, end"}, // Go's client sends none
		{name: "unknown name", server: "none.example.org", host: "none.example.org", want: "404 no-host, end"},
		{name: "unknown name, known host", server: "none.example.org", host: "web.example.org", want: "421 misdirected, end"},
		{name: "ready path", server: "web.example.org", host: "192.0.2.9", want: "421 misdirected, end"},
		{name: "TLS 1.2", server: "web.example.org", host: "web.example.org", config: &tls.Config{MaxVersion: tls.VersionTLS12}, want: "200, end"},
		{name: "TLS 1.1", server: "web.example.org", config: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, want: "protocol version"},
		{name: "CBC alone", server: "web.example.org", config: &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}, want: "handshake failure"},
		{name: "ALPN HTTP/1.1 and unknown", server: "web.example.org", host: "web.example.org", config: &tls.Config{NextProtos: []string{"http/1.1", "spdy/3"}}, want: "200, end"},
		{name: "ALPN HTTP/1.0 alone", server: "web.example.org", host: "web.example.org", config: &tls.Config{NextProtos: []string{"http/1.0"}}, want: "200, end"},
		{name: "ALPN of a CA", server: "web.example.org", config: &tls.Config{NextProtos: []string{"acme-tls/1"}}, want: "no application protocol"},
		{name: "ALPN unknown", server: "web.example.org", config: &tls.Config{NextProtos: []string{"spdy/3"}}, want: "no application protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.begin(plainAnswer)
			config := c.config
			if config == nil {
				config = &tls.Config{}
			}
			config.ServerName, config.InsecureSkipVerify = c.server, true
			conn := tls.Client(dialFrom(t, "127.0.0.1", secure), config)
			sent := crlf(to(c.host) + "Connection: close\n\n")
			got := ""
			if err := conn.Handshake(); err != nil {
				got = err.Error()
			} else {
				io.WriteString(conn, sent)
				got, _ = outcome(t, conn, sent)
			}
			if got != c.want && !(c.host == "" && strings.Contains(got, c.want)) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestReportsOfAddressesAsNames: a client that sends an address as the server name, which Go's
// does not, is served as one that sends none.
func TestReportsOfAddressesAsNames(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	s := newStage(t)
	s.begin(plainAnswer)
	dir, issuer := t.TempDir(), authority(t)
	issuer.write(t, dir, "default", "default.example.org")
	issuer.write(t, dir, "web.example.org", "web.example.org")
	secure := testnet.Address(t)
	serveStatic(t, s.services(), "--https="+secure, "--cert-dir="+dir)
	until(t, "the HTTPS listener", func() bool {
		c, err := net.Dial("tcp", secure)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	for _, name := range []string{"192.0.2.7", "::1"} {
		c := exec.CommandContext(within(t), openssl, "s_client", "-quiet", "-connect", secure, "-servername", name)
		c.Stdin = strings.NewReader(crlf(web + "Connection: close\n\n"))
		if out, err := c.Output(); !strings.HasPrefix(string(out), "HTTP/1.1 200 OK") {
			t.Errorf("%s: answered %.300q, %v", name, out, err)
		}
	}
}

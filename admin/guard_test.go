package admin_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"serai/admin"
	"serai/internal/history"
	"serai/router"
)

// send sends a request with a Host of its own, and returns the answer with its
// body read.
func (n *node) send(method, path, host string) (*http.Response, string) {
	n.Helper()
	r, err := http.NewRequest(method, n.url+path, nil)
	if err != nil {
		n.Fatal(err)
	}
	r.Host = host
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		n.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		n.Fatal(err)
	}
	return res, string(body)
}

// TestRebinding refuses names that a stranger could resolve to our address.
func TestRebinding(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for host, want := range map[string]int{
		"localhost": 200, "LocalHost:8081": 200, "127.0.0.1": 200, "127.0.0.1:8081": 200, "10.1.2.3:8081": 200, "[::1]:8081": 200, "[::1]": 200,
		"evil.example.org": 403, "evil.example.org:8081": 403, "localhost.example.org": 403, "notlocalhost": 403,
		"127.0.0.1.example.org": 403, "2130706433": 403, "0x7f000001": 403, "localhost.": 403, "a.localhost": 403,
	} {
		for _, path := range []string{"/", "/health", "/ready", "/metrics", "/routes", "/debug/pprof/", "/nothing"} {
			res, body := n.send("GET", path, host)
			if (res.StatusCode == 403) != (want == 403) {
				t.Errorf("Host %s, %s: answered %d", host, path, res.StatusCode)
			}
			if want == 403 && !strings.Contains(body, "ask by IP address, or as localhost") {
				t.Errorf("Host %s: the refusal does not say what to do: %s", host, body)
			}
		}
	}
}

// TestOtherSites: a page of another site does not read through an operator's browser, nor may it
// have it work; a link from there leads to a page as usual, and so do tools, which send no such
// field.
func TestOtherSites(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for _, c := range []struct {
		site, mode string
		want       int
	}{
		{"", "", 200}, {"none", "navigate", 200}, {"same-origin", "cors", 200}, {"same-origin", "no-cors", 200},
		{"cross-site", "navigate", 200}, {"cross-site", "no-cors", 403}, {"cross-site", "cors", 403}, {"cross-site", "websocket", 403}, {"cross-site", "", 403},
		{"same-site", "no-cors", 403}, {"same-site", "cors", 403}, {"same-site", "navigate", 200},
	} {
		for _, path := range []string{"/", "/metrics", "/api/v1/status", "/ui/overview", "/debug/pprof/"} {
			r, err := http.NewRequest("GET", n.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Sec-Fetch-Site", c.site)
			r.Header.Set("Sec-Fetch-Mode", c.mode)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if res.Body.Close(); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != c.want || c.want == 403 && !strings.Contains(string(body), "other sites") {
				t.Errorf("%s, %q %q: %d %s", path, c.site, c.mode, res.StatusCode, body)
			}
		}
	}
}

// TestNoHost answers HTTP/1.0 probes, which have no Host.
func TestNoHost(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	c, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /health HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 OK\r\n") {
		t.Errorf("answered %q, %v", answer, err)
	}
}

// TestMethods: no method is accepted that could change something.
func TestMethods(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for _, path := range []string{"/", "/health", "/routes", "/metrics", "/debug/pprof/symbol", "/nothing"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
			res, _ := n.send(method, path, "localhost")
			if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s answered %d, Allow: %s", method, path, res.StatusCode, res.Header.Get("Allow"))
			}
		}
	}
	res, body := n.send("HEAD", "/routes", "localhost")
	if res.StatusCode != 200 || body != "" {
		t.Errorf("HEAD answered %d %q", res.StatusCode, body)
	}
}

// TestSafeHeaders are on every answer, including refusals.
func TestSafeHeaders(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for _, c := range []struct{ method, path, host, kind string }{
		{"GET", "/", "localhost", "text/plain"}, {"GET", "/health", "localhost", "text/plain"},
		{"GET", "/routes", "localhost", "application/json"}, {"GET", "/ready", "localhost", "application/json"},
		{"GET", "/explain", "localhost", "application/json"}, {"GET", "/metrics", "localhost", "text/plain"},
		{"GET", "/routes", "evil.example.org", "text/plain"}, {"POST", "/routes", "localhost", "text/plain"},
		{"GET", "/nothing", "localhost", "text/plain"},
	} {
		res, _ := n.send(c.method, c.path, c.host)
		if h := res.Header; h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(h.Get("Content-Type"), c.kind) {
			t.Errorf("%s %s of %s: headers %v, want %s", c.method, c.path, c.host, h, c.kind)
		}
	}
}

// TestHeadFollowsNothing: HEAD has no body to follow. Its connection is free for the next request, and so is
// its place among those that follow.
func TestHeadFollowsNothing(t *testing.T) {
	n := newNode(t, admin.Options{MaxFollowers: 1, History: history.NewRing(0)}, router.Options{})
	for _, path := range []string{"/api/v1/events?follow=1", "/api/v1/status?follow=1", "/ui/overview?follow=1"} {
		res, body := n.send("HEAD", path, "localhost")
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || body != "" {
			t.Errorf("HEAD %s answered %d %q", path, res.StatusCode, body)
		}
		if status, _ := n.get("/health"); status != 200 {
			t.Errorf("after HEAD %s: %d", path, status)
		}
		if got := strings.TrimSpace(n.metric("serai_admin_followers ")); !strings.HasSuffix(got, " 0") {
			t.Errorf("after HEAD %s: %s", path, got)
		}
	}
}

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"serai/internal/testnet"
	"serai/nomad"
)

// pageServer is an instance that counts what it is asked, by method and path, and has a page
// that compresses well.
type pageServer struct {
	mu    sync.Mutex
	asked map[string]int
	held  chan struct{} // the stream of events ends when it is closed
}

var largePage = "<!doctype html><title>large</title>" + strings.Repeat("<p>grüße aus der seite</p>\n", 4000)

func (s *pageServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked[r.Method+" "+r.URL.Path]++
	s.mu.Unlock()
	w.Header().Set("X-B", "told")
	switch r.URL.Path {
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		http.NewResponseController(w).Flush()
		select {
		case <-s.held:
		case <-r.Context().Done():
		}
	case "/large":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("ETag", `"large"`)
		if r.Header.Get("If-None-Match") == `W/"large"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(largePage)))
		w.Write([]byte(largePage))
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte("<!doctype html><title>page</title>for " + r.Header.Get("Cookie")))
	}
}

func (s *pageServer) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[what]
}

// servePages serves hosts with policies over TLS, and opens a browser that finds them.
func servePages(t *testing.T, s *pageServer, tags ...string) (tab context.Context) {
	t.Helper()
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	t.Cleanup(func() { close(s.held) })
	at := netip.MustParseAddrPort(h.Listener.Addr().String())
	dir, secure := t.TempDir(), testnet.Address(t)
	authority(t).write(t, dir, "default", authHost)
	serveStatic(t, []nomad.Registration{{ID: "pages", ServiceName: "pages", Address: at.Addr().String(), Port: int(at.Port()), Tags: tags}}, "--https="+secure, "--cert-dir="+dir)
	until(t, "the HTTPS listener", func() bool {
		c, err := net.Dial("tcp", secure)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return chromium(t, secure)
}

func newPageServer() *pageServer {
	return &pageServer{asked: make(map[string]int), held: make(chan struct{})}
}

// TestCORSInChromium: a real browser asks before it sends, and shows scripts of other origins
// what `cors` says, and nothing else.
func TestCORSInChromium(t *testing.T) {
	t.Parallel()
	s := newPageServer()
	tab := servePages(t, s,
		"ingress.app.host=app.example.org,evil.example.org,x.dev.example.org",
		"ingress.api.host=api.example.org", "ingress.api.cors=https://app.example.org,https://*.dev.example.org", "ingress.api.cors-methods=GET,PUT",
		"ingress.api.cors-headers=X-A", "ingress.api.cors-expose=X-B", "ingress.api.cors-credentials=true",
		"ingress.open.host=open.example.org", "ingress.open.cors=*",
	)
	// fetched is what a script of the page gets: status, body's length, whether X-B is shown.
	fetched := func(url, options string) string {
		return evaluate(t, tab, fmt.Sprintf(`fetch(%q, %s).then(async r => r.status + " " + (await r.text()).length + " " + r.headers.get("X-B"), e => "blocked")`, url, options))
	}
	want := func(what, got string, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	const api, plain = "https://api.example.org/", "200 38 told"
	visit := func(url string) { browse(t, tab, url, chromedp.Navigate(url)) }
	visit("https://app.example.org/")
	want("a simple request", fetched(api+"simple", "{}"), plain)
	want("with cookies", fetched(api+"simple", `{credentials: "include"}`), plain)
	want("a preflight", fetched(api+"put", `{method: "PUT", headers: {"X-A": "1"}, credentials: "include"}`), plain)
	want("another method", fetched(api+"delete", `{method: "DELETE"}`), "blocked")
	want("another field", fetched(api+"field", `{headers: {"X-C": "1"}}`), "blocked")
	want("a type that is not a form's", fetched(api+"json", `{method: "PUT", headers: {"Content-Type": "application/json"}, body: "{}"}`), "blocked")
	want("a script of anybody's", fetched("https://open.example.org/", "{}"), "200 38 null")
	want("a script of anybody's, with cookies", fetched("https://open.example.org/", `{credentials: "include"}`), "blocked")
	visit("https://x.dev.example.org/")
	want("a label more", fetched(api+"simple", "{}"), plain)
	visit("https://evil.example.org/")
	want("another origin", fetched(api+"evil", "{}"), "blocked")
	want("another origin, a preflight", fetched(api+"evil-put", `{method: "PUT"}`), "blocked")
	// A sandboxed frame has the origin null.
	visit("https://app.example.org/")
	want("the origin null", evaluate(t, tab, `new Promise(done => { onmessage = e => done(e.data); let f = document.createElement("iframe"); f.sandbox = "allow-scripts"
		f.srcdoc = "<script>fetch('https://api.example.org/null', {method: 'PUT'}).then(r => 'seen', e => 'blocked').then(x => parent.postMessage(x, '*'))</"+"script>"; document.body.append(f) })`), "blocked")

	for what, n := range map[string]int{
		"OPTIONS /put": 0, "OPTIONS /delete": 0, "DELETE /delete": 0, "GET /field": 0, "PUT /json": 0, "PUT /evil-put": 0, "PUT /null": 0, "PUT /put": 1, "GET /simple": 3,
		"GET /evil": 1, // it needs no preflight, and its answer is not shown
	} {
		if got := s.count(what); got != n {
			t.Errorf("the instance was asked %q %d times, want %d", what, got, n)
		}
	}
}

// TestCompressedInChromium: a real browser decodes each coding, shows a stream's events at
// once, and asks again with the ETag that it was told.
func TestCompressedInChromium(t *testing.T) {
	t.Parallel()
	s := newPageServer()
	tab := servePages(t, s, "ingress.zstd.host=zstd.example.org", "ingress.zstd.compress=zstd", "ingress.br.host=br.example.org", "ingress.br.compress=br",
		"ingress.gzip.host=gzip.example.org", "ingress.gzip.compress=gzip", "ingress.all.host=all.example.org", "ingress.all.compress=zstd,br,gzip", "ingress.none.host=none.example.org")
	for _, host := range []string{"zstd", "br", "gzip", "all", "none"} {
		at := "https://" + host + ".example.org/"
		browse(t, tab, at, chromedp.Navigate(at+"large"))
		if got := evaluate(t, tab, `document.title + " " + document.querySelectorAll("p").length + " " + document.querySelector("p:last-child").innerText`); got != "large 4000 grüße aus der seite" {
			t.Errorf("%s: the page is %.200q", host, got)
		}
		sizes := evaluate(t, tab, `(n => n.decodedBodySize + " " + (n.encodedBodySize < n.decodedBodySize / 4))(performance.getEntriesByType("navigation")[0])`)
		if want := fmt.Sprintf("%d %v", len(largePage), host != "none"); sizes != want {
			t.Errorf("%s: the size, and whether it was made small: %q, want %q", host, sizes, want)
		}
		event := evaluate(t, tab, `new Promise(done => { let s = new EventSource("/events"); s.onmessage = e => { s.close(); done(e.data) }; s.onerror = e => done("error") })`)
		if event != "first" {
			t.Errorf("%s: the first event of a stream that goes on is %q", host, event)
		}
		// The browser's cache has the page, and asks whether it is still the one.
		if again := evaluate(t, tab, `fetch("/large", {cache: "no-cache"}).then(async r => r.status + " " + (await r.text()).length)`); !strings.HasPrefix(again, "200 ") || again == "200 0" {
			t.Errorf("%s: asked again: %q", host, again)
		}
	}
}

package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"serai/nomad"
	"serai/nomad/nomadtest"
)

// served is an instance that answers with h, as Nomad has it.
func served(t *testing.T, namespace, name string, h http.HandlerFunc, tags ...string) nomad.Registration {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return nomad.Registration{ID: "id-" + namespace + name, ServiceName: name, Namespace: namespace, AllocID: "alloc-" + name, JobID: name,
		Tags: tags, Address: "127.0.0.1", Port: s.Listener.Addr().(*net.TCPAddr).Port}
}

// app answers with the status that the path names, and a body of its own.
func app(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	status := 200
	fmt.Sscanf(r.URL.Path, "/%d", &status)
	w.Header().Set("Set-Cookie", "session=1")
	w.Header().Set("WWW-Authenticate", "Bearer")
	w.Header().Set("X-Own", "1")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(status)
		z := gzip.NewWriter(w)
		io.WriteString(z, "own "+strings.Repeat("x", 3000))
		z.Close()
		return
	}
	w.WriteHeader(status)
	io.WriteString(w, "own")
}

// errorPages are pages, large, and in chunks as a service sends them that makes them
// while it goes.
func errorPages(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Set-Cookie", "page=1")
	w.WriteHeader(200)
	for range 25 {
		io.WriteString(w, strings.Repeat("p", 4096))
		w.(http.Flusher).Flush()
	}
	io.WriteString(w, "of "+r.URL.Path)
}

// TestErrorPagesAsReported has what was reported of error pages elsewhere, over one
// connection, so that a wrong length is seen in what follows.
func TestErrorPagesAsReported(t *testing.T) {
	t.Parallel()
	asked := atomic.Int32{}
	_, url, _ := nomadtest.Simulator(t,
		served(t, "default", "app", app, "ingress.host=app.example.org", "ingress.errors=4xx,5xx", "ingress.errors-service=pages", "ingress.cors=https://a.example.org"),
		served(t, "default", "guarded", func(w http.ResponseWriter, r *http.Request) { asked.Add(1) }, "ingress.host=guarded.example.org", "ingress.errors=4xx,5xx", "ingress.errors-service=pages", "ingress.auth=sso"),
		served(t, "default", "pages", errorPages, "ingress.host=errors.internal", "ingress.tls=off"),
	)
	denies := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(401)
		io.WriteString(w, "the login")
	}))
	t.Cleanup(denies.Close)
	c := serveConfig(t, url, "auth \"sso\" {\n  forward {\n    url = \""+denies.URL+"\"\n  }\n}\n", "--error-page-timeout=1m")
	page := func(status int) string { return fmt.Sprintf("%sof /%d.html", strings.Repeat("p", 25*4096), status) }
	until(t, "the routes", func() bool { return c.status("app.example.org") == 200 })

	to, err := net.Dial("tcp", c.traffic)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	in := bufio.NewReader(to)
	ask := func(method, host, path, body string, fields ...string) (*http.Response, string) {
		t.Helper()
		head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, path, host, strings.Join(append(fields, ""), "\r\n"))
		if body != "" {
			head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		io.WriteString(to, head+"\r\n"+body)
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		got, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return res, string(got)
	}
	for _, r := range []struct {
		report, method, path, body string
		fields                     []string
		want                       string
	}{
		{"fields of answers that are no errors are gone", "GET", "/200", "", nil, "own"},
		{"a page that is not small changes the status", "GET", "/404", "", nil, page(404)},
		{"a page in chunks has the length of the error", "GET", "/500", "", nil, page(500)},
		{"a page is taken for gzip, as the error was", "GET", "/502", "", []string{"Accept-Encoding: gzip"}, page(502)},
		{"programs that read JSON get HTML", "GET", "/404", "", []string{"Accept: application/json"}, "own"},
		{"a HEAD gets a body", "HEAD", "/404", "", nil, ""},
		{"the body of a POST is read as a request", "POST", "/400", "GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n", nil, page(400)},
		{"a method that pages do not know", "DELETE", "/405", "", nil, page(405)},
		{"a script may not read the error", "GET", "/403", "", []string{"Origin: https://a.example.org"}, page(403)},
		{"a range of a page", "GET", "/416", "", []string{"Range: bytes=0-3"}, page(416)},
		{"what was kept for one status is shown for another", "GET", "/503", "", nil, page(503)},
		{"a status without a name", "GET", "/499", "", nil, page(499)},
		{"the last one of the class", "GET", "/599", "", nil, page(599)},
	} {
		res, got := ask(r.method, "app.example.org", r.path, r.body, r.fields...)
		status := 0
		fmt.Sscanf(r.path, "/%d", &status)
		if res.StatusCode != status || got != r.want {
			t.Errorf("%s: answered %d with %d bytes %.20q, want %d with %d", r.report, res.StatusCode, len(got), got, status, len(r.want))
		}
		if res.Header.Get("Set-Cookie") != "session=1" || res.Header.Get("X-Own") != "1" || res.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: the fields are %v", r.report, res.Header)
		}
		if origin := res.Header.Get("Access-Control-Allow-Origin"); (origin != "") != strings.Contains(r.report, "script") {
			t.Errorf("%s: scripts of %q may read it", r.report, origin)
		}
	}
	// What a service that lets clients in says is no error, and no page makes it a yes.
	if res, got := ask("GET", "guarded.example.org", "/", ""); res.StatusCode != 401 || got != "the login" || asked.Load() > 0 {
		t.Errorf("answered %d %q; the instance was asked %d times", res.StatusCode, got, asked.Load())
	}
	// The statistics are those of the errors, not of the pages.
	if got := metric(c.admin, `serai_requests_total{class="5xx",namespace="default",route="",service="app"}`); !strings.HasSuffix(got, " 4\n") {
		t.Errorf("the errors of the app are counted as %q of %s", got, metric(c.admin, "serai_requests_total"))
	}
	if got := metric(c.admin, "serai_error_pages_shown_total"); got != "serai_error_pages_shown_total 11\n" {
		t.Errorf("counted %q", got)
	}
}

// TestErrorPagesOfTheOperator: a policy may name a service of another namespace, a tag may
// not; what it says can be changed.
func TestErrorPagesOfTheOperator(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	sim.CreateNamespace("team-a")
	sim.CreateNamespace("ops")
	for _, r := range []nomad.Registration{
		served(t, "team-a", "app", app, "ingress.host=app.example.org"),
		served(t, "team-a", "thief", app, "ingress.host=thief.example.org", "ingress.errors=404", "ingress.errors-service=ops/pages"),
		served(t, "ops", "pages", errorPages, "ingress.host=errors.internal", "ingress.path=/e"),
	} {
		sim.Register(r)
	}
	config := func(path string) string {
		return `namespace "team-*" { policies = ["pages"] }
policy "pages" {
  errors = [404, "5xx"]
  errors_service = "ops/pages"
  errors_path = "` + path + `/{status}"
}`
	}
	c := serveConfig(t, url, config("/e"), "--error-page-timeout=1m")
	until(t, "the page", func() bool {
		status, body := get(c.traffic, "app.example.org", "/404")
		return status == 404 && strings.HasSuffix(body, "of /e/404")
	})
	if status, body := get(c.traffic, "app.example.org", "/403"); status != 403 || !strings.HasPrefix(body, "own") {
		t.Errorf("answered %d %.20q", status, body)
	}
	if _, body := get(c.admin, "localhost", "/rejections"); !strings.Contains(body, "a tag names one of its own") {
		t.Errorf("the refusals are %s", body)
	}
	if _, body := get(c.admin, "localhost", "/explain?host=app.example.org"); !strings.Contains(body, "404,5xx is /e/{status} of the service pages of namespace ops") || strings.Contains(body, "not shown now") {
		t.Errorf("it is explained as %s", body)
	}
	c.write(config("/x"))
	until(t, "no page", func() bool {
		_, body := get(c.traffic, "app.example.org", "/404")
		return strings.HasPrefix(body, "own")
	})
	if _, body := get(c.admin, "localhost", "/explain?host=app.example.org"); !strings.Contains(body, "not shown now: no route of that service") {
		t.Errorf("it is explained as %s", body)
	}
}

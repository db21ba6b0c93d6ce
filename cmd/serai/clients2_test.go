package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
)

// Programs that others have written as clients of HTTP/2.

// reachable is a serai with instances, and how clients reach it.
type reachable struct {
	plain, secure, root string
}

// dialed reports whether somebody listens.
func dialed(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// serveForPrograms serves instances with and without TLS, for these hosts.
func serveForPrograms(t *testing.T, hosts []string, regs ...nomad.Registration) reachable {
	t.Helper()
	dir, issuer := t.TempDir(), authority(t)
	issuer.write(t, dir, "all", hosts...)
	s := reachable{secure: testnet.Address(t), root: filepath.Join(t.TempDir(), "root.crt")}
	issuer.writeRoot(t, s.root)
	_, s.plain = serveStatic(t, regs, "--https="+s.secure, "--cert-dir="+dir)
	until(t, "the HTTPS listener", func() bool { return dialed(s.secure) })
	return s
}

// randomFile writes so many bytes that do not compress.
func randomFile(t *testing.T, size int) (path, content string) {
	t.Helper()
	b := make([]byte, size)
	rand.Read(b)
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, string(b)
}

// TestCurl speaks HTTP/2 over TLS and by prior knowledge, with an instance of HTTP/1 and
// one of HTTP/2.
func TestCurl(t *testing.T) {
	t.Parallel()
	curl := program(t, "curl")
	if !strings.Contains(runProgram(t, "", curl, "--version").out, "HTTP2") {
		t.Skip("not run: this curl does not speak HTTP/2")
	}
	const one, two, small = "one.example.org", "two.example.org", "small.example.org"
	s := serveForPrograms(t, []string{one, two, small},
		instance(t, "one", "ingress.host="+one), instance(t, "two", "ingress.host="+two, "ingress.scheme=h2c"),
		instance(t, "small", "ingress.host="+small, "ingress.max-body=100000"))
	file, content := randomFile(t, 1<<20)
	some, _ := randomFile(t, 200_000) // so much is still taken behind an answer; of more the stream is reset
	for way, secure := range map[string]bool{"TLS": true, "prior knowledge": false} {
		// ask returns what -w tells, and the body.
		ask := func(t *testing.T, host, path string, args ...string) (told, body string) {
			t.Helper()
			at, scheme := s.plain, "http"
			if secure {
				at, scheme = s.secure, "https"
				args = append(args, "--http2", "--cacert", s.root)
			} else {
				args = append(args, "--http2-prior-knowledge")
			}
			_, port, _ := net.SplitHostPort(at)
			to := filepath.Join(t.TempDir(), "body")
			r := runProgram(t, "from standard input", curl, append(args, "-sS", "-N", "-o", to, "-w", "%{http_code} %{http_version}\n",
				"--resolve", host+":"+port+":127.0.0.1", scheme+"://"+host+":"+port+path)...)
			if r.status != 0 {
				t.Errorf("%q ends with %d: %s", args, r.status, r.err)
			}
			b, _ := os.ReadFile(to)
			return r.out, string(b)
		}
		for _, host := range []string{one, two} {
			t.Run(way+" to "+host, func(t *testing.T) {
				for _, c := range []struct {
					path, body string // which it is, or has
					whole      bool
					args       []string
				}{
					{path: "/x?y=z", body: "GET /x?y=z"},
					{path: "/x", args: []string{"--head"}},
					{path: "/x", body: "PATCH /x", args: []string{"-X", "PATCH", "-d", "abc"}},
					{path: "/x", body: "POST /x", args: []string{"-F", "a=b", "-F", "c=d"}},
					{path: "/echo", body: content, whole: true, args: []string{"--data-binary", "@" + file}},
					{path: "/echo", body: content, whole: true, args: []string{"-T", file}},
					{path: "/echo", body: "from standard input", whole: true, args: []string{"-T", "-"}},
					{path: "/echo", body: content, whole: true, args: []string{"-T", file, "-H", "Expect: 100-continue"}},
					{path: "/bytes/3000000", body: strings.Repeat("\x00", 3_000_000), whole: true},
					{path: "/sse?count=3&every=10ms", body: "id: 3\n"},
				} {
					told, body := ask(t, host, c.path, c.args...)
					if told != "200 2\n" || c.whole && body != c.body || !strings.Contains(body, c.body) {
						t.Errorf("%s %q is answered %q, %d bytes: %.200q", c.path, c.args, told, len(body), body)
					}
				}
				// Many at once. Without TLS curl 7.88 fails at that, whoever serves.
				if secure {
					if told, _ := ask(t, host, "/x?[1-60]", "-Z", "--parallel-max", "30"); strings.Count(told, "200 2\n") != 60 {
						t.Errorf("60 at once are answered %q", told)
					}
				}
			})
		}
		t.Run(way+" refused", func(t *testing.T) {
			// Curl 7.88 does not read an answer whose stream is reset while it sends.
			if told, body := ask(t, small, "/", "--data-binary", "@"+some); told != "413 2\n" || !strings.Contains(body, "body-too-large") {
				t.Errorf("a body that is too long is answered %q %q", told, body)
			}
			host := "nobody.example.org"
			want := "404 2\n"
			if secure {
				host, want = one, "421 2\n" // of which the connection is not
			}
			if told, _ := ask(t, host, "/", "-H", "Host: nobody.example.org"); told != want {
				t.Errorf("an unknown host is answered %q, want %q", told, want)
			}
		})
	}
	// An Upgrade is not taken: the answer is one of HTTP/1.
	r := runProgram(t, "", curl, "-sS", "--http2", "-o", filepath.Join(t.TempDir(), "body"), "-w", "%{http_code} %{http_version}", "-H", "Host: "+one, "http://"+s.plain+"/")
	if r.out != "200 1.1" || r.status != 0 {
		t.Errorf("an Upgrade to h2c is answered %q, %d %s", r.out, r.status, r.err)
	}
}

// TestNghttp: the client of nghttp2, which says what few others do.
func TestNghttp(t *testing.T) {
	t.Parallel()
	nghttp := program(t, "nghttp")
	const one, two = "one.example.org", "two.example.org"
	s := serveForPrograms(t, []string{one, two}, instance(t, "one", "ingress.host="+one), instance(t, "two", "ingress.host="+two, "ingress.scheme=h2c"))
	file, content := randomFile(t, 300_000)
	for _, host := range []string{one, two} {
		for _, at := range []string{"http://" + s.plain, "https://" + s.secure} {
			t.Run(host+" "+at[:5], func(t *testing.T) {
				ask := func(path string, args ...string) string {
					t.Helper()
					r := runProgram(t, "", nghttp, append(args, "-y", "-t", "60", "-H", ":authority: "+host, at+path)...)
					if r.status != 0 || strings.Contains(r.err, "RROR") {
						t.Errorf("%s %q ends with %d: %s", path, args, r.status, r.err)
					}
					return r.out
				}
				if got := ask("/x", "-m", "100"); strings.Count(got, "GET /x") != 100 {
					t.Errorf("100 at once are answered %.3000q", got)
				}
				for name, args := range map[string][]string{
					"padded":                     {"-b", "255"},
					"small windows":              {"-w", "10", "-W", "12"},
					"large windows":              {"-w", "30", "-W", "30"},
					"no table":                   {"-c", "0"},
					"a large table":              {"-c", "65536", "--encoder-header-table-size=100"},
					"a table of several sizes":   {"-c", "4096", "-c", "0", "-c", "100"},
					"no length":                  {"--no-content-length"},
					"100-continue":               {"--expect-continue"},
					"trailers":                   {"--trailer", "x-sum: 1"},
					"a priority":                 {"-p", "7"},
					"many heads":                 {"--continuation"},
					"small windows and padding":  {"-w", "11", "-b", "200", "--trailer", "x-sum: 1", "--no-content-length"},
					"nothing of priorities":      {"--no-dep"},
					"a priority among the heads": {"-H", "priority: u=1, i"},
				} {
					if got := ask("/echo", append(args, "-d", file)...); got != content {
						t.Errorf("%s: %d bytes come back of %d", name, len(got), len(content))
					}
				}
			})
		}
	}
}

// TestGrpcurl asks the sample service, of which it learns by reflection.
func TestGrpcurl(t *testing.T) {
	t.Parallel()
	grpcurl := goProgram(t, "grpcurl")
	const echoes = "serai.hello.v1.Echo"
	s := serveForPrograms(t, []string{grpcHost}, instance(t, "echo", "ingress.host="+grpcHost, "ingress.scheme=grpc", "ingress.check=grpc"))
	for way, at := range map[string][]string{"h2c": {"-plaintext", s.plain}, "TLS": {"-cacert=" + s.root, s.secure}} {
		t.Run(way, func(t *testing.T) {
			for _, c := range []struct {
				name   string
				flags  []string
				what   []string
				input  string
				status int // 64 and a status of gRPC, or 0
				want   []string
				times  int // the first of these
			}{
				{name: "services", what: []string{"list"}, want: []string{echoes, "grpc.health.v1.Health"}},
				{name: "methods", what: []string{"list", echoes}, want: []string{echoes + ".Say", echoes + ".Repeat", echoes + ".Talk"}},
				{name: "a description", what: []string{"describe", echoes + ".Talk"}, want: []string{"stream .serai.hello.v1.SayRequest"}},
				{name: "one call", flags: []string{"-d", `{"text": "grüße"}`}, what: []string{echoes + "/Say"}, want: []string{`"text": "grüße"`, `"name": "echo"`}},
				{name: "an error", flags: []string{"-d", `{"code": 5, "text": "not here: 100 %"}`}, what: []string{echoes + "/Say"}, status: 64 + 5, want: []string{"NotFound", "not here: 100 %"}},
				{name: "many answers", flags: []string{"-d", `{"text": "again", "count": 5, "every": 1}`}, what: []string{echoes + "/Repeat"}, want: []string{`"text": "again"`}, times: 5},
				{name: "a talk", flags: []string{"-d", "@"}, input: `{"text": "a"} {"text": "b"} {"text": "c"}`, what: []string{echoes + "/Talk"}, want: []string{`"text": "a"`, `"text": "b"`, `"text": "c"`}},
				{name: "a large message", flags: []string{"-d", "@"}, input: `{"text": "` + strings.Repeat("x", 900_000) + `"}`, what: []string{echoes + "/Say"}, want: []string{strings.Repeat("x", 900_000)}},
				{name: "metadata", flags: []string{"-v", "-H", "own-plain: a", "-H", "own-bin: AP8=", "-d", `{"text": "x"}`}, what: []string{echoes + "/Say"}, want: []string{"Response trailers received"}},
				{name: "health", flags: []string{"-d", `{"service": "` + echoes + `"}`}, what: []string{"grpc.health.v1.Health/Check"}, want: []string{`"SERVING"`}},
				{name: "its time is over", flags: []string{"-max-time", "6", "-d", `{"text": "again"}`}, what: []string{echoes + "/Repeat"}, status: 64 + 4, want: []string{"DeadlineExceeded"}},
				{name: "no such method", what: []string{echoes + "/Nothing"}, status: 1, want: []string{"does not include a method"}},
			} {
				t.Run(c.name, func(t *testing.T) {
					args := append(append(append(c.flags, "-authority", grpcHost), at...), c.what...)
					r := runProgram(t, c.input, grpcurl, args...)
					for _, want := range c.want {
						if !strings.Contains(r.out+r.err, want) {
							t.Errorf("it prints %.2000q and %.2000q, want %.200q", r.out, r.err, want)
						}
					}
					if n := strings.Count(r.out, c.want[0]); c.times > 0 && n != c.times {
						t.Errorf("it prints %q %d times, want %d", c.want[0], n, c.times)
					}
					if r.status != c.status {
						t.Errorf("it ends with %d, want %d", r.status, c.status)
					}
				})
			}
			if way == "h2c" {
				r := runProgram(t, "", grpcurl, "-plaintext", "-authority", "nobody.example.org", s.plain, "list")
				if r.status == 0 || !strings.Contains(r.err, "does not support the reflection API") { // which is Unimplemented
					t.Errorf("an unknown host: %d %q", r.status, r.err)
				}
			}
		})
	}
}

// TestGrpcurlLines runs the lines that the README, the job and serai dev have for gRPC.
func TestGrpcurlLines(t *testing.T) {
	t.Parallel()
	grpcurl, curl := goProgram(t, "grpcurl"), program(t, "curl")
	traffic := testnet.Address(t)
	p := start(t, nil, "dev", "--http="+traffic, "--admin="+testnet.Address(t), "--every=0s")
	until(t, "dev", func() bool { status, _ := get(traffic, "whoami.example.org", "/"); return status == 200 })
	texts := map[string]string{"serai dev": p.stdout.String()}
	for _, file := range []string{"../../README.md", "../../jobs/grpc.nomad.hcl"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(b)
	}
	lines := regexp.MustCompile(`(?m)^[ #]*((?:grpcurl |curl --http2-prior-knowledge ).*)$`)
	for where, text := range texts {
		found := lines.FindAllStringSubmatch(text, -1)
		if len(found) != 2 {
			t.Errorf("%s has %q, want a line with curl and one with grpcurl", where, found)
		}
		for _, line := range found {
			command := strings.NewReplacer("127.0.0.1:8080", traffic, "ANY-NODE:80", traffic, "ANY-NODE", traffic).Replace(line[1])
			command = strings.Replace(strings.Replace(command, "grpcurl ", grpcurl+" ", 1), "curl --http2", curl+" -sS --http2", 1)
			r := runProgram(t, "", "sh", "-c", command)
			if !strings.Contains(r.out, `"text": "hello"`) && !strings.Contains(r.out, "HTTP/2.0") || r.status != 0 {
				t.Errorf("%s: %s ends with %d: %s%s", where, command, r.status, r.out, r.err)
			}
		}
	}
}

// TestGhz asks many times, at once and in streams.
func TestGhz(t *testing.T) {
	t.Parallel()
	ghz := goProgram(t, "ghz")
	s := serveForPrograms(t, []string{grpcHost}, instance(t, "a", "ingress.host="+grpcHost, "ingress.scheme=grpc"))
	for way, at := range map[string][]string{"h2c": {"--insecure", s.plain}, "TLS": {"--cacert=" + s.root, "--cname=" + grpcHost, s.secure}} {
		for _, c := range []struct {
			method, data string
			calls        int
		}{
			{"Say", `{"text": "hello"}`, 400}, {"Repeat", `{"text": "again", "count": 10, "every": 1}`, 40},
			{"Talk", `[{"text": "a"}, {"text": "b"}, {"text": "c"}]`, 40},
		} {
			t.Run(way+" "+c.method, func(t *testing.T) {
				args := []string{"--call=serai.hello.v1.Echo." + c.method, "-d", c.data, fmt.Sprint("-n", c.calls), "-c20", "--connections=4", "-Ojson", "--authority=" + grpcHost}
				r := runProgram(t, "", ghz, append(args, at...)...)
				var report struct {
					Count    int            `json:"count"`
					Statuses map[string]int `json:"statusCodeDistribution"`
					Errors   map[string]int `json:"errorDistribution"`
				}
				if err := json.Unmarshal([]byte(r.out), &report); err != nil {
					t.Fatalf("%v: %.2000s%.2000s", err, r.out, r.err)
				}
				if report.Count != c.calls || report.Statuses["OK"] != c.calls {
					t.Errorf("of %d calls: %+v", c.calls, report)
				}
			})
		}
	}
}

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"serai/internal/testnet"
	"serai/nomad/nomadtest"
)

// TestLogLevel changes the level of a running serai: by the command, and by the signal.
// Nobody else may.
func TestLogLevel(t *testing.T) {
	_, url, _ := nomadtest.Simulator(t)
	admin := testnet.Address(t)
	p := start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+testnet.Address(t), "--admin="+admin, "--drain-delay=0s", "--log-level=warn")
	until(t, "the admin", func() bool { status, _ := get(admin, "localhost", "/health"); return status == 200 })
	command := func(want string, args ...string) {
		t.Helper()
		var out, errs buffer
		err := run(t.Context(), append([]string{"log-level", "--admin=" + admin}, args...), func(string) string { return "" }, &out, &errs)
		if got := out.String() + errs.String(); got != want || (err != nil) != strings.HasPrefix(want, "serai: ") {
			t.Errorf("log-level %v says %q, want %q: %v", args, got, want, err)
		}
	}
	command("WARN\n")
	command("DEBUG\n", "debug")
	command("DEBUG\n")
	until(t, "a line about it", func() bool { return strings.Contains(p.stderr.String(), "level=DEBUG was=WARN") })
	command("serai: \"loud\" is not DEBUG, INFO, WARN or ERROR\n", "loud")
	command("ERROR\n", "ERROR")

	for _, c := range []struct {
		method, host, origin, hops string
		want                       int
	}{
		{"POST", "localhost", "", "", 405}, {"DELETE", "localhost", "", "", 405}, {"PUT", "evil.example.org", "", "", 403},
		{"PUT", "localhost", "http://localhost", "", 403}, {"PUT", "localhost", "", "1", 403}, {"OPTIONS", "localhost", "http://evil.example.org", "", 405},
	} {
		r, err := http.NewRequest(c.method, "http://"+admin+"/log-level", strings.NewReader("debug"))
		if err != nil {
			t.Fatal(err)
		}
		r.Host, r.Close = c.host, true
		for name, value := range map[string]string{"Origin": c.origin, "X-Serai-Hops": c.hops} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != c.want {
			t.Errorf("%+v is answered %d", c, res.StatusCode)
		}
	}
	command("ERROR\n")

	level := func(want string) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		until(t, "level "+want, func() bool { _, body := get(admin, "localhost", "/log-level"); return body == want+"\n" })
	}
	level("DEBUG")
	level("WARN") // as at the start
}

// TestAccessLogCombined writes the format that others read.
func TestAccessLogCombined(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.example.org"))
	traffic, log := testnet.Address(t), filepath.Join(t.TempDir(), "log")
	start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+traffic, "--admin=", "--drain-delay=0s", "--access-log="+log, "--access-log-format=combined", "--access-log-query=redact")
	until(t, "an answer", func() bool { status, _ := get(traffic, "web.example.org", "/a?token=secret"); return status == 200 })
	until(t, "its line", func() bool {
		text, _ := os.ReadFile(log)
		return strings.Contains(string(text), `"GET /a?token=- HTTP/1.1" 200 `) && strings.Contains(string(text), `"-" "Go-http-client/1.1"`) && !strings.Contains(string(text), "secret")
	})
}

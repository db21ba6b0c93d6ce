package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
)

// askingArgs are all commands that ask a serai once.
var askingArgs = [][]string{{"status"}, {"routes"}, {"instances"}, {"rejections"}, {"events"}, {"explain", "a.example.org"}, {"top", "--once"}, {"certs", "list"}, {"log-level"}}

// TestOddAdmins asks what is no serai, or one whose answer is cut off: no command takes that for
// an empty list, says what is not so, or breaks.
func TestOddAdmins(t *testing.T) {
	t.Parallel()
	sends := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	const foreign = "is not a"
	for name, c := range map[string]struct {
		answers http.HandlerFunc
		want    string
	}{
		"an object of another program": {sends(`{"status": "up"}`), foreign},
		"an empty object":              {sends(`{}`), foreign},
		"null":                         {sends(`null`), foreign},
		"a list":                       {sends(`[]`), foreign},
		"a page":                       {sends("<html>\x1b[2J</html>"), foreign},
		"nothing":                      {sends(""), foreign},
		"more than an answer":          {sends(`{"items": [], "version": "1", "result": "found", "certificates": []} x`), foreign},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"items": [`)
		}, "unexpected EOF; --admin names its admin address"},
	} {
		s := httptest.NewServer(c.answers)
		for _, args := range askingArgs {
			out, err := says(t, append(args, "--admin="+s.Listener.Addr().String())...)
			if err == nil || errors.Is(err, errNone) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--admin names its admin address") || strings.Contains(err.Error(), "\x1b") || out != "" {
				t.Errorf("%s, %v: %q, %v, want %q", name, args, out, err, c.want)
			}
		}
		s.Close()
	}
	// What is not one of its items, at once and followed.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("follow") != "" {
			io.WriteString(w, "data: null\n\n")
			return
		}
		io.WriteString(w, `{"items": [null]}`)
	}))
	defer s.Close()
	for _, args := range [][]string{{"instances"}, {"events"}, {"events", "-f"}} {
		if _, err := says(t, append(args, "--admin="+s.Listener.Addr().String())...); err == nil || !strings.Contains(err.Error(), "an item of its list is null") {
			t.Errorf("%v: %v", args, err)
		}
	}
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for line := strings.Repeat("x", 64<<10); ; {
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	if _, err := says(t, "events", "-f", "--admin="+endless.Listener.Addr().String()); err == nil || !strings.Contains(err.Error(), "token too long") {
		t.Errorf("a line without an end: %v", err)
	}
}

// TestFollowThroughBusyness: a serai that can not answer for now, or a proxy before it, does not end what has
// begun; an event that was cut off is asked for again.
func TestFollowThroughBusyness(t *testing.T) {
	t.Parallel()
	for args, answer := range map[string]string{
		"events -f":         "data: {\"id\": %d, \"message\": \"it happened\"}\n\n",
		"top --every=200ms": `{"items": [], "total": %d}`,
	} {
		var asked atomic.Int64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			switch n := asked.Add(1); n {
			case 2:
				w.WriteHeader(503)
				io.WriteString(w, `{"error": "16 dashboard pages or commands follow already"}`)
			case 3:
				w.WriteHeader(502)
			case 4:
				text := fmt.Sprintf(answer, n)
				if args == "events -f" {
					io.WriteString(w, text[:len(text)-10])
					return
				}
				w.Header().Set("Content-Length", "1000")
				io.WriteString(w, text[:10])
			default:
				fmt.Fprintf(w, answer, n)
			}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		var out, errs buffer
		ended := make(chan error, 1)
		go func() {
			ended <- run(ctx, append(strings.Fields(args), "--admin="+s.Listener.Addr().String()), func(string) string { return "" }, &out, &errs)
		}()
		until(t, "the sixth answer", func() bool { return asked.Load() >= 6 })
		cancel()
		if err := <-ended; err != nil || !strings.Contains(errs.String(), map[bool]string{true: "asking again until it is back", false: "follow already"}[args == "events -f"]) {
			t.Errorf("%s ends with %v, and says %q", args, err, errs.String())
		}
		s.Close()
	}
}

// TestBadQueries: a command line that serai refuses is one that makes no sense, named as it was
// written.
func TestBadQueries(t *testing.T) {
	t.Parallel()
	admin := testnet.Address(t)
	serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=shop.example.org")}, "--admin="+admin)
	env := []string{"SERAI_ADMIN=" + admin}
	for args, want := range map[string]string{
		"routes --limit=0":                    `serai: --limit="0" is not a number from 1 to 1000`,
		"instances --offset=-1":               `serai: --offset="-1" is not a number from 0 to 2147483648`,
		"top --once -n 5000":                  `serai: --limit="5000" is not a number from 1 to 1000`,
		"events --event=bogus":                `serai: --event="bogus" is not a kind of event; kinds: started`,
		"events -f --since=yesterday":         `serai: --since="yesterday" is neither the ID of an event nor a time`,
		"explain shop.example.org -H nothing": `serai: --header "nothing" is not NAME:VALUE`,
		"explain /":                           `serai: "/" is not HOST, HOST/PATH or a URL`,
		"log-level loud":                      `serai: "loud" is not DEBUG, INFO, WARN or ERROR`,
	} {
		r := seraiProgram(t, env, strings.Fields(args)...)
		if r.status != 2 || !strings.HasPrefix(r.err, want) || strings.Contains(r.err, "elsewhere") || r.out != "" {
			t.Errorf("%s ends with %d and says %q%q, want %q", args, r.status, r.out, r.err, want)
		}
	}
	if r := seraiProgram(t, append(env, "SERAI_LIMIT=0"), "routes"); r.status != 2 || !strings.HasPrefix(r.err, `serai: SERAI_LIMIT="0" is not`) {
		t.Errorf("a limit of the environment ends with %d and says %q", r.status, r.err)
	}
	if r := seraiProgram(t, env, "events", "--since=0"); r.status != 0 || !strings.Contains(r.out, "serai starts") {
		t.Errorf("events behind the ID 0 end with %d: %q %q", r.status, r.out, r.err)
	}
}

// TestCertsOfTheCommandLine: what the command line says wins against the environment, in which a
// serai's own directory and the one to ask may both be.
func TestCertsOfTheCommandLine(t *testing.T) {
	t.Parallel()
	admin, dir := testnet.Address(t), t.TempDir()
	serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=shop.example.org")}, "--admin="+admin)
	const files, asked = "--cert-dir has no pair", "set --cert-dir or --acme-email"
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{[]string{"SERAI_ADMIN=" + admin}, []string{"--cert-dir=" + dir}, files},
		{[]string{"SERAI_CERT_DIR=" + dir}, []string{"--admin=" + admin}, asked},
		{[]string{"SERAI_CERT_DIR=" + dir}, nil, files},
		{[]string{"SERAI_ADMIN=" + admin}, nil, asked},
		{[]string{"SERAI_ADMIN=" + admin, "SERAI_CERT_DIR=" + dir}, nil, "can't be used together"},
	} {
		if r := seraiProgram(t, c.env, append([]string{"certs", "list"}, c.args...)...); !strings.Contains(r.out+r.err, c.want) {
			t.Errorf("%v %v: %d %q %q, want %q", c.env, c.args, r.status, r.out, r.err, c.want)
		}
	}
}

// TestFullDisk: a command whose output was not taken fails. An empty file would say that nothing
// is refused.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	admin := testnet.Address(t)
	serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=shop.example.org")}, "--admin="+admin)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range append(askingArgs, []string{"status", "-json"}, []string{"version"}, []string{"man"}, []string{"completion", "bash"}) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		var said bytes.Buffer
		c := exec.Command(self, args...)
		c.Env, c.Stdout, c.Stderr = []string{asMain + "=1", "SERAI_ADMIN=" + admin}, full, &said
		c.Run()
		full.Close()
		if c.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "no space left on device") {
			t.Errorf("%v ends with %d and says %q", args, c.ProcessState.ExitCode(), said.String())
		}
	}
}

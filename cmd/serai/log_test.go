package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
)

// closedPort returns a port of the loopback where nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	return testnet.Ports(t, 1)[0]
}

// TestUnservedLeavesATrace: requests that get 503 leave one line for a route in
// some seconds, with the causes; /explain has them, too.
func TestUnservedLeavesATrace(t *testing.T) {
	t.Parallel()
	down := nomad.Registration{ID: "id-down", ServiceName: "down", Namespace: "shop", AllocID: "alloc-down", JobID: "down",
		Address: "127.0.0.1", Port: closedPort(t), Tags: []string{"ingress.host=down.example.org", "ingress.wait=100ms"}}
	other := down
	other.ID, other.ServiceName, other.Port, other.Tags = "id-other", "other", closedPort(t), []string{"ingress.host=other.example.org", "ingress.wait=0s"}
	sim, url, _ := nomadtest.Simulator(t)
	sim.CreateNamespace("shop")
	sim.Register(down, other)
	traffic, admin := testnet.Address(t), testnet.Address(t)
	p := start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+traffic, "--admin="+admin, "--drain-delay=0s")
	causes := fmt.Sprintf("0 of 1 ready: 127.0.0.1:%d connection refused since ", down.Port)
	until(t, "the first probe", func() bool {
		_, body := get(admin, "localhost", "/explain?host=down.example.org")
		return strings.Contains(body, causes)
	})
	for range 5 {
		for _, host := range []string{"down.example.org", "other.example.org"} {
			if status, body := get(traffic, host, "/"); status != 503 {
				t.Fatalf("%s answered %d %s", host, status, body)
			}
		}
	}
	var lines []string
	until(t, "a line of each route", func() bool { // which is written after the answer
		lines = nil
		for line := range strings.Lines(p.stderr.String()) {
			if strings.Contains(line, "is answered 503") {
				lines = append(lines, line)
			}
		}
		return len(lines) >= 2
	})
	slices.SortStableFunc(lines, func(a, b string) int { // of two that were asked in turn, either may be written first
		down := func(s string) int { return strings.Count(s, "host=down.example.org") }
		return down(b) - down(a)
	})
	if len(lines) != 2 {
		t.Fatalf("%d lines of two routes, want one of each: %q", len(lines), lines)
	}
	for _, want := range []string{"level=WARN", "reason=no-instance", "namespace=shop", "service=down", causes, "host=down.example.org", "not_logged=0"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("the line lacks %q: %s", want, lines[0])
		}
	}
}

// TestNearTagsAreTold: a service whose tags only look like ours is listed, at the
// start and later, with what to write instead.
func TestNearTagsAreTold(t *testing.T) {
	t.Parallel()
	first, second := instance(t, "first", "ingres.host=first.example.org"), instance(t, "second", "Ingress.Host=second.example.org")
	sim, url, _ := nomadtest.Simulator(t, first)
	traffic, admin := testnet.Address(t), testnet.Address(t)
	start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+traffic, "--admin="+admin, "--drain-delay=0s")
	told := func(service, instead string) {
		until(t, "the tag of "+service+" to be told", func() bool {
			_, body := get(admin, "localhost", "/rejections?service="+service)
			return strings.Contains(body, `"instead": "`+instead+`"`)
		})
	}
	told("first", "ingress.host=first.example.org")
	sim.Register(second)
	told("second", "ingress.host=second.example.org")
	for _, host := range []string{"first.example.org", "second.example.org"} {
		if status, _ := get(traffic, host, "/"); status != 404 {
			t.Errorf("%s answered %d: it must not be exposed", host, status)
		}
	}
}

// jsonLines reads a log in JSON; a line that is none fails the test.
func jsonLines(t *testing.T, log string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Errorf("this line of the log is no JSON: %s", line)
			continue
		}
		all = append(all, m)
	}
	return all
}

// line returns the first line with a message, nil for none.
func line(all []map[string]any, message string) map[string]any {
	for _, m := range all {
		if strings.Contains(fmt.Sprint(m["msg"]), message) {
			return m
		}
	}
	return nil
}

// TestJSONThroughout: with --log-format=json nothing else is written, the policy
// that is missing and the last error included.
func TestJSONThroughout(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.example.org"))
	sim.SetACL(true)
	sim.PutToken(nomadsim.Token{Secret: "secret-token"})
	traffic := testnet.Address(t)
	env := map[string]string{"NOMAD_ADDR": url, "NOMAD_TOKEN": "secret-token", "NOMAD_DC": "dc7", "NOMAD_REGION": nomadsim.Region, "SERAI_LOG_FORMAT": "json"}
	p := start(t, env, "serve", "--http="+traffic, "--admin=", "--drain-delay=100ms", "--node=node-7")
	until(t, "the policy", func() bool { return strings.Contains(p.stderr.String(), "all that it should: attach the policy") })
	p.stop()
	if err := p.wait(t); err != nil {
		t.Fatal(err)
	}
	all := jsonLines(t, p.stderr.String())
	for name, want := range map[string]string{"msg": "serai starts", "version": "devel", "node": "node-7", "datacenter": "dc7", "region": nomadsim.Region, "nomad": url} {
		if got := fmt.Sprint(all[0][name]); !strings.HasPrefix(got, want) {
			t.Errorf("the first line says %s=%q, want %q", name, got, want)
		}
	}
	missing := line(all, "all that it should: attach the policy")
	for name, want := range map[string]string{
		"policy": `capabilities = ["read-job"]`, "command": "nomad acl policy apply", "missing": "the list of services of namespace \"*\"",
		"wanted": "services and event stream", "nomad_version": "agent { policy",
	} {
		if got := fmt.Sprint(missing[name]); !strings.Contains(got, want) {
			t.Errorf("the missing policy says %s=%q, want %q", name, got, want)
		}
	}
	if got := line(all, "stopping")["drain-delay"]; got != "100ms" {
		t.Errorf("a duration is written as %v, want 100ms", got)
	}

	var output buffer
	err := run(t.Context(), []string{"serve", "--log-format=json", "--retry-share=7"}, func(string) string { return "" }, io.Discard, &output)
	if all := jsonLines(t, output.String()); err == nil || !strings.Contains(fmt.Sprint(line(all, "serai ends")["error"]), "--retry-share=7 is not") {
		t.Errorf("the last error is told as %s", output.String())
	}
	output = buffer{}
	err = run(t.Context(), []string{"serve", "--log-format=json", "--drain-delay=x"}, func(string) string { return "" }, io.Discard, &output)
	if all := jsonLines(t, output.String()); err == nil || line(all, "serai ends") == nil {
		t.Errorf("a flag that makes no sense is told as %s", output.String())
	}
}

// TestNomadsVersionAndRights are told once they are known.
func TestNomadsVersionAndRights(t *testing.T) {
	_, url, _ := nomadtest.Simulator(t)
	p := start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+testnet.Address(t), "--admin=", "--drain-delay=0s", "--namespaces=a,b")
	until(t, "the rights", func() bool { return strings.Contains(p.stderr.String(), "nomad lets serai do all that it should") })
	for _, want := range []string{"nomad_version=" + nomadsim.Version, "region=" + nomadsim.Region, `rights="services and event stream of namespaces a, b"`} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, p.stderr.String())
		}
	}
}

// TestErrorsNameTheirOrigin: what stands in the environment or in a file is not
// spoken of as a flag.
func TestErrorsNameTheirOrigin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serai.hcl")
	if err := os.WriteFile(file, []byte("access_log_sample = 2\nhttp = \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, value string
		args        []string
		want, never string
	}{
		{"SERAI_DRAIN_DELAY", "soon", nil, `SERAI_DRAIN_DELAY: "soon" is not a duration`, "--drain-delay"},
		{"SERAI_MAX_HEAD", "lots", nil, "SERAI_MAX_HEAD: expected", "--max-head"},
		{"SERAI_MAX_WAITING_BYTES", "0", nil, "SERAI_MAX_WAITING_BYTES=0 is not at least 1", "--max-waiting-bytes"},
		{"SERAI_ACME_ENGINE", "x", nil, "SERAI_ACME_ENGINE must be one of", "--acme-engine"},
		{"SERAI_STICKY_KEY_FILE", "/dev/null/none", nil, "SERAI_STICKY_KEY_FILE=/dev/null/none", "--sticky-key-file"},
		{"SERAI_RETRY_SHARE", "7", nil, "SERAI_RETRY_SHARE=7 is not between 0 and 1", "--retry-share"},
		{"SERAI_RETRY_SHARE", "0.5", []string{"--retry-share=7"}, "--retry-share=7 is not", "SERAI_RETRY_SHARE"},
		{"SERAI_CONFIG", file, nil, "access_log_sample in " + file + "=2 is not between 0 and 1", "--access-log-sample"},
	} {
		err := run(t.Context(), append([]string{"serve", "--admin="}, c.args...), func(n string) string {
			if n == c.name {
				return c.value
			}
			return ""
		}, io.Discard, io.Discard)
		var usage *usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.never) {
			t.Errorf("%s=%s: error %v, want one of usage with %q and without %q", c.name, c.value, err, c.want, c.never)
		}
	}
}

// TestUnknownSettingsInTheEnvironment: a variable that only looks like a setting is told of.
func TestUnknownSettingsInTheEnvironment(t *testing.T) {
	flags := []string{"namespaces", "http", "https", "tag-prefix", "acme-email"}
	environ := []string{"PATH=/bin", "SERAI_HTTP=:80", "SERAI_CONFIG=x", "SERAI_TAG_PREFIX=a", "SERAI_NAMESPACE=team", "SERAI_TAG-PREFIX=b", "SERAI_http=:80", "SERAI_FROBNICATE=1",
		"SERAI_TEST_AS_MAIN=1", "SERAIHTTP=1", "SERAI_=", "NOMAD_ADDR=x"}
	want := []string{`"SERAI_"`, `"SERAI_FROBNICATE"`, `"SERAI_NAMESPACE": did you mean "SERAI_NAMESPACES"?`, `"SERAI_TAG-PREFIX": did you mean "SERAI_TAG_PREFIX"?`, `"SERAI_http": did you mean "SERAI_HTTP"?`}
	if got := unknownSettings(environ, flags); !slices.Equal(got, want) {
		t.Errorf("unknown settings %q, want %q", got, want)
	}
}

// TestAccessLogFlags: what the flags say reaches the log.
func TestAccessLogFlags(t *testing.T) {
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.example.org"))
	for _, c := range []struct {
		flags  []string
		checks bool
		path   string
	}{
		{nil, false, "/?token=s3cret"},
		{[]string{"--access-log-query=redact", "--access-log-checks"}, true, "/?token=-"},
		{[]string{"--access-log-query=off"}, false, "/"},
	} {
		traffic, file := testnet.Address(t), filepath.Join(t.TempDir(), "access.log")
		p := start(t, map[string]string{"NOMAD_ADDR": url}, append([]string{"serve", "--http=" + traffic, "--admin=", "--drain-delay=0s", "--access-log=" + file}, c.flags...)...)
		until(t, "the service", func() bool { status, _ := get(traffic, "web.example.org", "/?token=s3cret"); return status == 200 })
		get(traffic, "127.0.0.1", "/.serai/ready")
		p.stop()
		p.wait(t)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checks, found := false, false
		for line := range strings.Lines(string(text)) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			checks = checks || m["path"] == "/.serai/ready"
			found = found || m["path"] == c.path && m["user_agent"] == "Go-http-client/1.1"
		}
		if checks != c.checks || !found {
			t.Errorf("%q: checks are logged: %v; a line with path %s and the user agent: %v\n%s", c.flags, checks, c.path, found, text)
		}
	}
}

// TestFullAccessLog: a file without room costs its lines, each of which is counted,
// and one line of serai's own log.
func TestFullAccessLog(t *testing.T) {
	admin := testnet.Address(t)
	p, address := serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=web.example.org")},
		"--access-log=/dev/full", "--admin="+admin)
	const requests = 100
	for range requests {
		if status, body := get(address, "web.example.org", "/"); status != 200 {
			t.Fatalf("answered %d %s", status, body)
		}
	}
	until(t, "all lines to be counted", func() bool {
		_, metrics := get(admin, "", "/metrics")
		return strings.Contains(metrics, fmt.Sprintf("\nserai_access_log_dropped_total %d\n", requests))
	})
	const told = "the access log cannot be written"
	until(t, "the log to tell of it", func() bool { return strings.Contains(p.stderr.String(), told) })
	if n := strings.Count(p.stderr.String(), told); n != 1 {
		t.Errorf("the log tells of it %d times", n)
	}
}

package main

import (
	"net"
	"regexp"
	"slices"
	"testing"
)

// TestH2spec runs all of h2spec, a client that breaks the rules of HTTP/2 and of HPACK one by
// one, on both ports. What does not begin with the preface is HTTP/1 on the plain port, and
// answered 400 there: h2spec, which wants the connection closed, cannot read that.
func TestH2spec(t *testing.T) {
	t.Parallel()
	h2spec := goProgram(t, "h2spec")
	const host = "localhost"
	s := serveForPrograms(t, []string{host}, instance(t, "one", "ingress.host="+host))
	for way, c := range map[string]struct {
		address string
		flags   []string
		fails   []string
	}{
		"plain": {s.plain, nil, []string{"Sends invalid connection preface"}},
		"TLS":   {s.secure, []string{"--tls", "--insecure"}, nil},
	} {
		t.Run(way, func(t *testing.T) {
			_, port, err := net.SplitHostPort(c.address)
			if err != nil {
				t.Fatal(err)
			}
			// Some cases need a stream that is still open, and are lost where its answer comes first:
			// a fault fails each time.
			fails := failsOf(t, h2spec, port, c.flags)
			for range 5 {
				if slices.Equal(fails, c.fails) {
					return
				}
				again := failsOf(t, h2spec, port, c.flags)
				fails = slices.DeleteFunc(fails, func(f string) bool { return !slices.Contains(again, f) })
			}
			if !slices.Equal(fails, c.fails) {
				t.Errorf("it fails %q, want %q", fails, c.fails)
			}
		})
	}
}

var (
	h2specSummary = regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`)
	h2specFailure = regexp.MustCompile(`× \d+: (.*)`)
)

// failsOf runs h2spec, and returns the cases that fail.
func failsOf(t *testing.T, h2spec, port string, flags []string) []string {
	r := runProgram(t, "", h2spec, append(flags, "--strict", "--host", "localhost", "--port", port, "--timeout", "10", "--path", "/bytes/100")...)
	said := h2specSummary.FindStringSubmatch(r.out)
	if said == nil || len(said[2]) < len("100") {
		t.Fatalf("it ends with %d %s, and says:\n%s", r.status, r.err, r.out)
	}
	t.Log(said[0])
	var failed []string
	for _, f := range h2specFailure.FindAllStringSubmatch(r.out, -1) {
		failed = append(failed, f[1])
	}
	slices.Sort(failed)
	return slices.Compact(failed)
}

package consulsim_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/consul/consulsim"
)

var wait = flag.Duration("settle", testTimeout, "how long an answer may take to become that of a transcript")

var update = flag.Bool("update", false, "write the transcripts in testdata anew, from a real agent")

// A transcript is a list of requests and their whole answers, which a real agent has
// given. A line that begins with > is a request; what follows until the next one is the
// answer.
//
//	> GET /v1/catalog/nodes          the answer must be this one
//	~ GET /v1/catalog/service/web    the answer must become this one
//	> @reader GET /v1/catalog/nodes  the request has the token of that name
//
// Answers are written so that they can be compared: indexes by their rank in the whole
// transcript (@1 is the lowest), since a cluster's counter also counts what nobody sees.
type step struct {
	eventual                  bool
	token, method, path, body string
	comment                   string
	answer                    string
}

// tokens are those of the guarded transcripts.
var tokens = map[string]consulsim.Token{
	"reader": {
		Secret: "22222222-2222-2222-2222-222222222222", Accessor: "22222222-0000-0000-0000-222222222222",
		Rules: []consulsim.Rule{{"service_prefix", "", "read"}, {"node_prefix", "", "read"}},
	},
	"blind": {Secret: "33333333-3333-3333-3333-333333333333", Accessor: "33333333-0000-0000-0000-333333333333"},
	"web": {
		Secret: "44444444-4444-4444-4444-444444444444", Accessor: "44444444-0000-0000-0000-444444444444",
		Rules: []consulsim.Rule{{"service", "web", "write"}, {"node_prefix", "", "read"}},
	},
	"nodeless": {
		Secret: "55555555-5555-5555-5555-555555555555", Accessor: "55555555-0000-0000-0000-555555555555",
		Rules: []consulsim.Rule{{"service_prefix", "", "read"}, {"service", "secret", "deny"}},
	},
	"agent": {
		Secret: "66666666-6666-6666-6666-666666666666", Accessor: "66666666-0000-0000-0000-666666666666",
		Rules: []consulsim.Rule{{"agent_prefix", "node", "read"}, {"node", "node1", "write"}},
	},
	"unknown": {Secret: "77777777-7777-7777-7777-777777777777"},
}

// transcripts runs all of a folder, each with an agent of its own.
func transcripts(t *testing.T, folder string, start func(t *testing.T) cluster) {
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s: %v", folder, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { transcript(t, file, start(t)) })
	}
}

func transcript(t *testing.T, file string, c cluster) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	steps := parseTranscript(t, string(text))
	if c.management() != "" {
		for name, token := range tokens {
			if name != "unknown" {
				c.putToken(t, token)
			}
		}
	}
	callers := map[string]*caller{"": callerOf(t, c, c.management()), "anonymous": callerOf(t, c, "")}
	for name, token := range tokens {
		callers[name] = callerOf(t, c, token.Secret)
	}
	_, real := c.(*realCluster)
	seen := slices.Clone(steps)
	for i, s := range steps {
		a := s.ask(t, c, callers)
		if *update && real && s.eventual {
			a = s.settled(t, c, callers)
		} else {
			for end := time.Now().Add(*wait); s.eventual && masked(a) != masked(s.answer) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				a = s.ask(t, c, callers)
			}
		}
		seen[i].answer = a
	}
	got := ranked(formatTranscript(seen))
	if *update && real {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := string(text)
	if uncompared.MatchString(want) {
		got, want = masked(got), masked(want)
	}
	if got != want {
		t.Errorf("%s:\n%s", file, difference(want, got))
	}
}

// ask makes the request and renders its answer.
func (s step) ask(t *testing.T, c cluster, callers map[string]*caller) string {
	t.Helper()
	return render(t, callers[s.token].do(t, s.method, s.path, s.body), c)
}

// settled asks until the answer has been the same for two seconds.
func (s step) settled(t *testing.T, c cluster, callers map[string]*caller) string {
	a, since := s.ask(t, c, callers), time.Now()
	for time.Since(since) < 2*time.Second {
		time.Sleep(100 * time.Millisecond)
		if next := s.ask(t, c, callers); next != a {
			a, since = next, time.Now()
		}
	}
	return a
}

func parseTranscript(t *testing.T, text string) (steps []step) {
	t.Helper()
	comment := ""
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "# "):
			comment += line
		case strings.HasPrefix(line, "> "), strings.HasPrefix(line, "~ "):
			s := step{eventual: line[0] == '~', comment: comment}
			comment = ""
			request := strings.TrimSpace(line[2:])
			if strings.HasPrefix(request, "@") {
				s.token, request, _ = strings.Cut(request[1:], " ")
			}
			s.method, request, _ = strings.Cut(request, " ")
			s.path, s.body, _ = strings.Cut(request, " ")
			steps = append(steps, s)
		case len(steps) > 0:
			steps[len(steps)-1].answer += line
		case strings.TrimSpace(line) != "":
			t.Fatalf("an answer before the first request: %q", line)
		}
	}
	for i := range steps {
		steps[i].answer = strings.TrimRight(steps[i].answer, "\n") + "\n"
	}
	return steps
}

func formatTranscript(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(s.comment)
		mark := ">"
		if s.eventual {
			mark = "~"
		}
		b.WriteString(mark)
		if s.token != "" {
			b.WriteString(" @" + s.token)
		}
		fmt.Fprintf(&b, " %s %s", s.method, s.path)
		if s.body != "" {
			b.WriteString(" " + s.body)
		}
		b.WriteString("\n" + s.answer)
	}
	return b.String()
}

package proxy_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"serai/proxy"
)

var update = flag.Bool("update", false, "rewrite the table of reasons in README.md")

// TestReadmeHasEveryReason holds the README's table to the reasons.
func TestReadmeHasEveryReason(t *testing.T) {
	const path, open, end = "../README.md", "<!-- reasons -->\n", "<!-- /reasons -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), open)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("README.md has no %q and %q", open, end)
	}
	var table strings.Builder
	table.WriteString("| status | reason | means |\n| --- | --- | --- |\n")
	codes := make(map[string]bool)
	for r, e := range proxy.AllReasons() {
		if e.Code == "" || e.Meaning == "" || codes[e.Code] {
			t.Errorf("reason %d has no code of its own, or no documentation: %+v", r, e)
		}
		codes[e.Code] = true
		status := "-"
		if e.Status > 0 {
			status = strconv.Itoa(e.Status)
		}
		fmt.Fprintf(&table, "| %s | `%s` | %s |\n", status, e.Code, e.Meaning)
	}
	switch {
	case *update:
		if err := os.WriteFile(path, []byte(before+open+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case old != table.String():
		t.Errorf("the table of reasons in README.md is not this one (-update rewrites it):\n%s", table.String())
	}
}

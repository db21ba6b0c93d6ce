package proxy_test

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"serai/internal/testdoc"
	"serai/proxy"
)

var update = flag.Bool("update", false, "rewrite the table of reasons in README.md")

// TestReadmeHasEveryReason holds the README's table to the reasons.
func TestReadmeHasEveryReason(t *testing.T) {
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
	testdoc.HoldSection(t, "../README.md", "reasons", table.String(), *update)
}

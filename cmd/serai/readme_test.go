package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "rewrite the table of flags in README.md, and testdata")

// TestReadmeHasEveryFlag holds the README's table of flags to the flags.
func TestReadmeHasEveryFlag(t *testing.T) {
	const path, open, end = "../../README.md", "<!-- flags -->\n", "<!-- /flags -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), open)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("README.md has no %q and %q", open, end)
	}
	table := flagTable(t)
	if *update {
		if err := os.WriteFile(path, []byte(before+open+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != table {
		t.Errorf("the table of flags in README.md is not this one (-update rewrites it):\n%s", table)
	}
}

// flagTable is the flags of serai serve as Markdown.
func flagTable(t *testing.T) string {
	var c commands
	k, err := kong.New(&c, kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := k.Parse([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| flag | default | meaning |\n| --- | --- | --- |\n")
	for _, f := range parsed.Selected().Flags {
		value := ""
		if f.HasDefault && f.Default != "" {
			value = "`" + f.Default + "`"
		}
		name := "--" + f.Name
		if f.PlaceHolder != "" {
			name += "=" + f.PlaceHolder
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(name, "|", `\|`), value, strings.ReplaceAll(f.Help, "|", `\|`))
	}
	return b.String()
}

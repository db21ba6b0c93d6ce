package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"serai/internal/testdoc"
)

var update = flag.Bool("update", false, "rewrite the table of flags in README.md, and testdata")

// TestReadmeHasEveryFlag holds the README's table of flags to the flags.
func TestReadmeHasEveryFlag(t *testing.T) {
	testdoc.HoldSection(t, "../../README.md", "flags", flagTable(t), *update)
}

// flagTable is the flags of serai serve as Markdown.
func flagTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| flag | default | meaning |\n| --- | --- | --- |\n")
	for _, f := range serveFlags(t) {
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

// serveFlags are the flags of serai serve.
func serveFlags(t *testing.T) []*kong.Flag {
	t.Helper()
	var c commands
	k, err := kong.New(&c, kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := k.Parse([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Selected().Flags
}

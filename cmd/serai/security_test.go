package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"serai/internal/testdoc"
)

// TestSecurityDocument holds docs/security.md to what there is: the flags and
// metrics that it names exist, with the defaults that it gives, and no limit is
// missing.
func TestSecurityDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := make(map[string]*kong.Flag)
	for _, f := range serveFlags(t) {
		flags["--"+f.Name] = f
	}
	for _, name := range regexp.MustCompile(`--[a-z][a-z-]*[a-z]`).FindAllString(string(text), -1) {
		if flags[name] == nil {
			t.Errorf("docs/security.md names %s, which is no flag", name)
		}
	}

	listed := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `(--[a-z0-9-]+)` \\| `([^`]*)` \\|").FindAllStringSubmatch(testdoc.Section(t, "../../docs/security.md", "limits"), -1) {
		listed[row[1]] = true
		if f := flags[row[1]]; f != nil && f.Default != row[2] {
			t.Errorf("docs/security.md says that %s is %s by default; it is %s", row[1], row[2], f.Default)
		}
	}
	for name, f := range flags {
		limit := f.Group != nil && f.Group.Key == "Limits" || strings.Contains(name, "-max") || strings.Contains(name, "share") && f.Group.Key == "HTTPS" || strings.HasSuffix(name, "-rate")
		if limit && !listed[name] {
			t.Errorf("docs/security.md does not list the limit %s", name)
		}
	}

	sources, err := filepath.Glob("../../admin/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var metrics strings.Builder
	for _, file := range sources {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		metrics.Write(source)
	}
	for _, name := range regexp.MustCompile(`serai_[a-z0-9_]+`).FindAllString(string(text), -1) {
		if !strings.Contains(metrics.String(), `"`+name+`"`) {
			t.Errorf("docs/security.md names %s, which is no metric", name)
		}
	}
}

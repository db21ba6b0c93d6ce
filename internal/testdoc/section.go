// Package testdoc compares documents with the code that they describe.
package testdoc

import (
	"os"
	"strings"
	"testing"
)

// Section returns the text between <!-- NAME --> and <!-- /NAME --> in a document.
func Section(t *testing.T, path, name string) string {
	t.Helper()
	_, section, _ := cut(t, path, name)
	return section
}

// HoldSection fails when the section differs from want. With update it rewrites the
// section.
func HoldSection(t *testing.T, path, name, want string, update bool) {
	t.Helper()
	before, section, after := cut(t, path, name)
	switch {
	case update:
		if err := os.WriteFile(path, []byte(before+want+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case section != want:
		t.Errorf("the %s in %s are not these (-update rewrites them):\n%s", name, path, want)
	}
}

func cut(t *testing.T, path, name string) (before, section, after string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	open, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, found := strings.Cut(string(text), open)
	section, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no %q and %q", path, open, end)
	}
	return before + open, section, end + after
}

// HoldFile fails when a file does not contain want. With update it rewrites the file.
func HoldFile(t *testing.T, path, want string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != want {
		t.Errorf("%s does not have this (-update rewrites it):\n%s", path, want)
	}
}

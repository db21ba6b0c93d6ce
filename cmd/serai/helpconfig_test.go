package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestBlocksOfTheHelp: the blocks of the config file that the help shows may be pasted into one.
func TestBlocksOfTheHelp(t *testing.T) {
	nothing := func(string) string { return "" }
	var out strings.Builder
	if err := run(t.Context(), []string{"serve", "--help"}, nothing, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	_, about, _ := strings.Cut(out.String(), "HCL file: ")
	about, _, _ = strings.Cut(about, "docs/policies.md")
	blocks := regexp.MustCompile(`[a-z_]+ "[^"]*" \{[^}]*\}`).FindAllString(strings.Join(strings.Fields(about), " "), -1)
	if len(blocks) != 3 {
		t.Fatalf("the help shows the blocks %q", blocks)
	}
	file := filepath.Join(t.TempDir(), "serai.hcl")
	if err := os.WriteFile(file, []byte(strings.Join(blocks, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	args := []string{"check", "--config=" + file, "--no-nomad", "--admin=", "--services=" + secretFile(t, "services.json", "[]"), "--skip=ports"}
	if err := run(t.Context(), args, nothing, &out, io.Discard); err != nil {
		t.Errorf("they are refused: %v, %s", err, out.String())
	}
}

package main

import (
	"regexp"
	"slices"
	"testing"

	"serai/internal/testdoc"
)

// TestSecurityDocumentHasEveryAttack: its table has a row for each attack, in their order.
func TestSecurityDocumentHasEveryAttack(t *testing.T) {
	var want, got []string
	for _, a := range append(strangersAttacks(), tenantsAttacks()...) {
		want = append(want, a.name)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(testdoc.Section(t, "../docs/security.md", "attacks"), -1) {
		got = append(got, row[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/security.md has the attacks %q, want %q", got, want)
	}
}

package router_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"serai/internal/testdoc"
	"serai/router"
)

// TestPoliciesDocument parses the tags in docs/policies.md: each indented block is the
// tags of one instance.
func TestPoliciesDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for block := range strings.SplitSeq(string(text), "\n\n") {
		if !strings.HasPrefix(block, "    ingress.") {
			continue
		}
		blocks++
		tags := strings.Fields(block)
		if !strings.Contains(block, "ingress.host=") {
			tags = append(tags, "ingress.host=a.example.org")
		}
		definitions, problems := router.ParseTags("ingress", tags)
		if wrong := strings.Contains(block, "/33"); len(definitions) == 0 || (len(problems) > 0) != wrong {
			t.Errorf("%s\nis refused: %v", block, problems)
		}
	}
	if blocks < 6 {
		t.Errorf("only %d blocks of tags", blocks)
	}
	for _, k := range router.Keys() {
		if k.Guard && !strings.Contains(string(text), "`"+k.Name) {
			t.Errorf("the guard %s is not in docs/policies.md", k.Name)
		}
	}
}

// TestPoliciesDocumentHasEveryPolicyKey holds the table of what a policy block may say.
func TestPoliciesDocumentHasEveryPolicyKey(t *testing.T) {
	var table strings.Builder
	table.WriteString("| in a policy block | value | of several policies and tags |\n| --- | --- | --- |\n")
	for _, k := range router.PolicyKeys() {
		several := "one"
		if k.Adds {
			several = "all"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", strings.ReplaceAll(k.Name, "-", "_"), k.Value, several)
	}
	testdoc.HoldSection(t, "../docs/policies.md", "policy keys", table.String(), *update)
}

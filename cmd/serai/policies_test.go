package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readText reads a config file with a text.
func readText(t *testing.T, text string) (*configFile, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "serai.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(path, []string{"http"}, nil)
	if err == nil {
		err = c.checkHosts()
	}
	return c, err
}

// TestPoliciesDocumentIsRead reads the file in docs/policies.md.
func TestPoliciesDocumentIsRead(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Named policies and defaults\n")
	var file strings.Builder
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "A route takes") {
			break
		}
		if code, ok := strings.CutPrefix(line, "    "); ok {
			file.WriteString(code)
		}
	}
	c, err := readText(t, file.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, file.String())
	}
	if got := fmt.Sprint(c.catalog.Defaults("team-a"), c.catalog.Defaults("ops"), c.catalog.Names("policy", "ops"), c.catalog.Names("policy", "other")); got != "[lan] [] [admin lan] [lan]" {
		t.Errorf("the file means %s", got)
	}
}

// TestWrongPolicies: each wrong block is refused, at its place and with what to write.
func TestWrongPolicies(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":              {"policy \"a\" {\n  alow = [\"10.0.0.0/8\"]\n}", `:2,3-24: Wrong policy; "alow" is not a key; instead: did you mean allow?`},
		"a key with dashes":        {"policy \"a\" {\n  rate = \"5/s\"\n  rate-burst = 0\n}", ":3,3-17: Wrong policy"},
		"wrong value":              {"policy \"a\" {\n  allow = [\"10.0.0.0/8\",\n    \"10.0.0.0/33\"]\n}", `:2,3-3,19: Wrong policy; "10.0.0.0/33" is neither an address nor a network`},
		"wrong type":               {"policy \"a\" {\n  allow = {a = 1}\n}", ":2,11-18: Wrong type"},
		"nothing":                  {"policy \"a\" {\n  allow = []\n}", "allow has no value"},
		"null":                     {"policy \"a\" {\n  allow = null\n}", "Wrong type"},
		"half":                     {"policy \"a\" {\n  rate_by = \"host\"\n}", "rate_by has no effect without rate"},
		"half, and closed":         {"policy \"a\" {\n  cors = \"*\"\n  cors_credentials = true\n}", ":1,1-11: Wrong policy"},
		"a list of one":            {"policy \"a\" {\n  hsts = [\"max-age=1\", \"max-age=2\"]\n}", "hsts wants one value"},
		"a claim":                  {"policy \"a\" {\n  host = \"a.test\"\n}", "host cannot be set by a policy"},
		"a policy of policies":     {"policy \"a\" {\n  policies = [\"b\"]\n}", "policies cannot be set by a policy"},
		"empty":                    {"policy \"a\" {}", ":1,1-11: Empty policy"},
		"empty, but for whose":     {"policy \"a\" {\n  namespaces = [\"b\"]\n}", ":1,1-11: Empty policy"},
		"twice":                    {"policy \"a\" {}\npolicy \"a\" {}", ":2,1-11: Policy given twice"},
		"a block":                  {"policy \"a\" {\n  allow {}\n}", ":2,3-8: Unknown block"},
		"no name":                  {"policy {}", ":1,1-7: Unknown block"},
		"no such name":             {"policy \"a b\" {}", ":1,8-13: Not a name"},
		"namespaces of nobody":     {"policy \"a\" {\n  namespaces = []\n}", ":2,16-18: No namespace"},
		"no namespaces":            {"policy \"a\" {\n  namespaces = [\"a/b\"]\n}", ":2,16-23: Not a namespace"},
		"a variable":               {"policy \"a\" {\n  allow = [var.lan]\n}", "Variables not allowed"},
		"default that is not":      {"policy \"lan\" {}\nnamespace \"a\" {\n  policies = [\"lann\"]\n}", `:3,14-22: Unknown policy; no block is policy "lann": did you mean "lan"?`},
		"default of none":          {"namespace \"!a\" {\n  policies = []\n}", "Not a namespace"},
		"hosts of a glob":          {"namespace \"a-*\" {\n  hosts = [\"a.test\"]\n}", ":2,3-21: Hosts of a pattern"},
		"namespace with a mistake": {"namespace \"a\" {\n  policy = [\"a\"]\n}", ":2,3-9: Unsupported argument"},
		"auth without a kind":      {"auth \"a\" {}", ":1,1-9: Wrong auth"},
		"auth of no kind":          {"auth \"a\" {\n  magic {}\n}", ":2,3-8: Unknown kind of auth"},
	} {
		if _, err := readText(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %s", name, err, c.want)
		}
	}
}

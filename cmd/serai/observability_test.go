package main

import (
	"crypto/tls"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"serai/internal/testnet"
	"serai/nomad/nomadtest"
)

const observability = "../../docs/observability/"

// tool skips a test where a program of Prometheus is not installed.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install prometheus): nothing of this test was run", name)
	}
	return path
}

// observed is a serai that shows all that the dashboard and the rules ask for, and where
// its metrics are.
func observed(t *testing.T, flags ...string) (p *process, traffic, admin, metrics string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	config := write("serai.hcl", "drain_delay = \"0s\"\n")
	_, url, _ := nomadtest.Simulator(t, instance(t, "web", "ingress.host=web.example.org", "ingress.x.host=x.example.org", "ingress.x.nonsense=1"))
	traffic, admin, metrics = testnet.Address(t), testnet.Address(t), testnet.Address(t)
	secure := testnet.Address(t)
	p = start(t, map[string]string{"NOMAD_ADDR": url}, append([]string{"serve", "--config=" + config, "--http=" + traffic, "--https=" + secure, "--admin=" + admin,
		"--metrics=" + metrics, "--cert-dir=" + selfSigned(t), "--state-dir=" + filepath.Join(dir, "state"), "--memory=256", "--access-log=" + filepath.Join(dir, "log"),
		"--acme-email=ops@example.org", "--acme-directory=https://127.0.0.1:1/", "--cert-store=file", "--acme-peers=", "--linger=0s", "--otlp=http://127.0.0.1:1"}, flags...)...)
	until(t, "an answer", func() bool { status, _ := get(traffic, "web.example.org", "/"); return status == 200 })
	until(t, "a TLS handshake", func() bool {
		c, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			c.Close()
		}
		// The client may know of the end of a handshake before serai does.
		return err == nil && metric(metrics, "serai_tls_handshakes_total{") != ""
	})
	return p, traffic, admin, metrics
}

// exported are the labels of each metric at an address, with the parts of histograms.
func exported(t *testing.T, address string) map[string][]string {
	t.Helper()
	_, body := get(address, "any.example.org", "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for name, f := range families {
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		if all[name] = labels; f.GetType().String() == "HISTOGRAM" {
			delete(all, name)
			all[name+"_bucket"], all[name+"_sum"], all[name+"_count"] = append(labels, "le"), labels, labels
		}
	}
	return all
}

// goldenMetrics are those of which a healthy serai has none, as admin's own test has them.
func goldenMetrics(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../admin/testdata/metrics.golden")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, m := range regexp.MustCompile(`(?m)^(\w+)\{(.*?)\} (?:gauge|counter)`).FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = strings.Split(m[2], ",")
	}
	return all
}

var (
	quotedText = regexp.MustCompile(`"[^"]*"`)
	selector   = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?`)
	grouping   = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left)\s*\([^)]*\)`)
	labelName  = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)`)
	duration0  = regexp.MustCompile(`\[[^\]]*\]`)
)

// selected are the metrics that an expression asks for, with the labels of its matchers.
func selected(expression string) map[string][]string {
	all := make(map[string][]string)
	text := duration0.ReplaceAllString(grouping.ReplaceAllString(quotedText.ReplaceAllString(expression, `""`), ""), "")
	for _, m := range selector.FindAllStringSubmatch(text, -1) {
		name := m[1]
		if name != "up" && !strings.Contains(name, "_") && !strings.Contains(name, ":") || name == "histogram_quantile" || name == "group_left" {
			continue // an operator or a function
		}
		all[name] = append(all[name], "")
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			all[name] = append(all[name], l[1])
		}
	}
	return all
}

// queries are the expressions of the rules and of the dashboard, and the names that rules record.
func queries(t *testing.T) (all []string, recorded map[string]bool) {
	t.Helper()
	rules, err := os.ReadFile(observability + "serai.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	recorded = make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^ +- record: (\S+)$`).FindAllStringSubmatch(string(rules), -1) {
		recorded[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^        expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)`).FindAllStringSubmatch(string(rules), -1) {
		all = append(all, m[1]+m[2])
	}
	if want := strings.Count(string(rules), "expr:"); len(all) != want || want < 20 {
		t.Fatalf("%d of %d expressions of the rules were found", len(all), want)
	}
	var dashboard struct {
		Panels     []struct{ Targets []struct{ Expr string } }
		Templating struct{ List []struct{ Definition string } }
	}
	text, err := os.ReadFile(observability + "serai.dashboard.json")
	if err == nil {
		err = json.Unmarshal(text, &dashboard)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := len(all)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Definition != "" {
			all = append(all, strings.TrimSuffix(regexp.MustCompile(`label_values\((.*), \w+\)`).ReplaceAllString(v.Definition, "$1"), ")"))
		}
	}
	if len(all)-before < 50 {
		t.Fatalf("only %d expressions of the dashboard were found", len(all)-before)
	}
	return all, recorded
}

// TestObservabilityQueries: each query of the rules and the dashboard names metrics and labels
// that a running serai has. What only a serai in trouble has is in a golden of admin.
func TestObservabilityQueries(t *testing.T) {
	t.Parallel()
	_, _, _, metrics := observed(t)
	known := exported(t, metrics)
	for name, labels := range goldenMetrics(t) {
		if _, has := known[name]; !has {
			known[name] = labels
		}
	}
	// Prometheus makes the one; the other is there with secrets in variables, and has tests of its own.
	for name, labels := range map[string][]string{
		"up": nil, "serai_secret_wrong_seconds": {"variable", "item"},
	} {
		known[name] = labels
	}
	all, recorded := queries(t)
	found := 0
	for _, q := range all {
		for name, matchers := range selected(q) {
			if recorded[name] {
				continue
			}
			found++
			labels, has := known[name]
			if !has {
				t.Errorf("no serai has %s, which is asked for by: %s", name, q)
				continue
			}
			for _, l := range matchers {
				if l != "" && l != "job" && l != "instance" && !slices.Contains(labels, l) {
					t.Errorf("%s has no label %s, it has %v: %s", name, l, labels, q)
				}
			}
		}
	}
	if found < 70 {
		t.Errorf("only %d metrics were found in %d queries: %v", found, len(all), slices.Collect(maps.Keys(known)))
	}
}

// TestObservabilityRunbook: each alert has a paragraph that its annotation points to, and each
// paragraph an alert.
func TestObservabilityRunbook(t *testing.T) {
	rules, err := os.ReadFile(observability + "serai.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(observability + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	var alerts, told []string
	for _, block := range strings.Split(string(rules), "- alert: ")[1:] {
		name, _, _ := strings.Cut(block, "\n")
		alerts = append(alerts, name)
		if want := "runbook: docs/observability/README.md#" + strings.ToLower(name) + "\n"; !strings.Contains(block, want) {
			t.Errorf("%s lacks %s", name, want)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (Serai\w+)$`).FindAllStringSubmatch(string(text), -1) {
		told = append(told, m[1])
	}
	if !slices.Equal(alerts, told) || len(alerts) < 15 {
		t.Errorf("the alerts are\n%v, the runbook has\n%v", alerts, told)
	}
}

// TestObservabilityRules has promtool check and test the rules, and check the metrics of a
// running serai.
func TestObservabilityRules(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "serai.rules.yml"}, {"test", "rules", "serai.rules.test.yml"}} {
		c := exec.Command(promtool, args...)
		c.Dir = observability
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "SUCCESS") {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	_, _, _, metrics := observed(t)
	_, body := get(metrics, "", "/metrics")
	c := exec.Command(promtool, "check", "metrics")
	c.Stdin = strings.NewReader(body)
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

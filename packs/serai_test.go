// Package packs_test renders the pack as nomad-pack does, and compares it with the job files.
package packs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// body parses a file of HCL.
func body(t *testing.T, path string) *hclsyntax.Body {
	t.Helper()
	file, diagnostics := hclparse.NewParser().ParseHCLFile(path)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return file.Body.(*hclsyntax.Body)
}

// plain is a value as templates see it.
func plain(t *testing.T, v cty.Value) (got any) {
	t.Helper()
	text, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// defaults are the pack's variables that have one.
func defaults(t *testing.T) map[string]any {
	t.Helper()
	values := make(map[string]any)
	for _, b := range body(t, "serai/variables.hcl").Blocks {
		if b.Body.Attributes["description"] == nil || b.Body.Attributes["type"] == nil {
			t.Errorf("the variable %s has no description or no type", b.Labels[0])
		}
		a, ok := b.Body.Attributes["default"]
		if !ok {
			continue
		}
		v, diagnostics := a.Expr.Value(nil)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		values[b.Labels[0]] = plain(t, v)
	}
	return values
}

// render renders the pack's template with nomad-pack's delimiters, its function var, and those of Sprig that
// the template uses, as their documents have them.
func render(t *testing.T, values map[string]any) (job string, err error) {
	t.Helper()
	functions := template.FuncMap{
		"var": func(name string, _ any) (any, error) {
			v, ok := values[name]
			if !ok {
				return nil, fmt.Errorf("the variable %s is not set", name)
			}
			return v, nil
		},
		"toJson": func(v any) (string, error) {
			text, err := json.Marshal(v)
			return string(text), err
		},
		"replace": func(old, new, in string) string { return strings.ReplaceAll(in, old, new) },
		"dict":    func(name string, value any) map[string]any { return map[string]any{name: value} },
		// What is there already stays.
		"merge": func(into, from map[string]any) map[string]any {
			all := maps.Clone(from)
			maps.Copy(all, into)
			return all
		},
	}
	text, err := os.ReadFile("serai/templates/serai.nomad.tpl")
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := template.New("serai").Delims("[[", "]]").Funcs(functions).Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = tpl.Execute(&out, nil)
	return out.String(), err
}

// findNomad returns the nomad executable, empty when there is none.
func findNomad() string {
	if bin := os.Getenv("NOMAD_BIN"); bin != "" {
		return bin
	}
	bin, _ := exec.LookPath("nomad")
	return bin
}

// cases are variables for both, with what is easily quoted wrongly.
func cases(driver string) map[string]map[string]any {
	binary := "/usr/local/bin/serai"
	if driver == "exec" {
		binary = "https://example.org/serai" // the default of that job file
	}
	minimal := map[string]any{"args": []any{}}
	all := map[string]any{
		"args":          []any{"--acme-email=ops@example.org", "--sticky-key-file=${NOMAD_SECRETS_DIR}/sticky-key", `--x="q"`},
		"config":        "auth \"staff\" {\n  basic {\n    users_variable = \"serai/auth/staff\"\n  }\n}\n# ${x} %{y} <&>\n",
		"files":         map[string]any{"sticky-key": `{{ with nomadVar "nomad/jobs/serai" }}{{ .sticky }}{{ end }}`},
		"datacenters":   []any{"dc1", "dc2"},
		"admin_address": "0.0.0.0", "http_port": 1080, "https_port": 1443, "admin_port": 1081, "metrics_port": 1064,
	}
	for _, c := range []map[string]any{minimal, all} {
		if driver != "docker" {
			c["binary"] = binary
		} else {
			c["image"] = "registry.example.org/serai:1.0.0"
		}
	}
	return map[string]map[string]any{"minimal": minimal, "all": all}
}

// TestPackIsTheJobFile renders the pack for each driver, and compares what Nomad reads from it with what it
// reads from the job file of that driver.
func TestPackIsTheJobFile(t *testing.T) {
	for _, driver := range []string{"docker", "exec", "raw_exec"} {
		for name, values := range cases(driver) {
			t.Run(driver+"/"+name, func(t *testing.T) {
				with := defaults(t)
				maps.Copy(with, values)
				with["driver"] = driver
				text, err := render(t, with)
				if err != nil {
					t.Fatal(err)
				}
				if _, diagnostics := hclparse.NewParser().ParseHCL([]byte(text), "serai.nomad"); diagnostics.HasErrors() {
					t.Fatalf("%v\n%s", diagnostics, text)
				}
				bin := findNomad()
				if bin == "" {
					t.Skip("no nomad to ask: put it on PATH, or its path into NOMAD_BIN")
				}
				path := filepath.Join(t.TempDir(), "serai.nomad.hcl")
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				got := read(t, bin, path)
				want := read(t, bin, "../jobs/serai."+driver+".nomad.hcl", variables(t, values)...)
				if got != want {
					t.Errorf("the pack is\n%s\nand the job file\n%s", got, want)
				}
			})
		}
	}
}

// variables are arguments for nomad.
func variables(t *testing.T, values map[string]any) (args []string) {
	t.Helper()
	for name, value := range values {
		text, ok := value.(string)
		if !ok {
			encoded, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			text = strings.ReplaceAll(string(encoded), "${", "$${")
		}
		args = append(args, "-var", name+"="+text)
	}
	return args
}

// read is a job as Nomad's parser has it.
func read(t *testing.T, bin, path string, args ...string) string {
	t.Helper()
	cmd := exec.Command(bin, append(append([]string{"job", "run", "-output"}, args...), path)...)
	cmd.Env = append(os.Environ(), "NOMAD_ADDR=http://127.0.0.1:1", "NOMAD_CLI_NO_COLOR=1") // where no agent is
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nomad job run -output %s: %v\n%s", path, err, out)
	}
	return string(out)
}

// TestPackWantsFlags: without the var-file nothing is run.
func TestPackWantsFlags(t *testing.T) {
	if _, err := render(t, defaults(t)); err == nil || !strings.Contains(err.Error(), "args is not set") {
		t.Errorf("a pack without flags is rendered: %v", err)
	}
}

// TestPackIsDescribed holds the metadata to what nomad-pack demands, and the variables to those of the job files.
func TestPackIsDescribed(t *testing.T) {
	found := make(map[string]string)
	for _, b := range body(t, "serai/metadata.hcl").Blocks {
		for name, a := range b.Body.Attributes {
			v, diagnostics := a.Expr.Value(nil)
			if diagnostics.HasErrors() {
				t.Fatal(diagnostics)
			}
			found[b.Type+"."+name] = v.AsString()
		}
	}
	for _, name := range []string{"app.url", "pack.name", "pack.description", "pack.version"} {
		if found[name] == "" {
			t.Errorf("metadata.hcl has no %s", name)
		}
	}
	of := func(path string) map[string]bool {
		names := make(map[string]bool)
		for _, b := range body(t, path).Blocks {
			if b.Type == "variable" {
				names[b.Labels[0]] = true
			}
		}
		return names
	}
	want := of("../jobs/serai.docker.nomad.hcl")
	maps.Copy(want, of("../jobs/serai.raw_exec.nomad.hcl"))
	want["driver"] = true
	if got := of("serai/variables.hcl"); !maps.Equal(got, want) {
		t.Errorf("the pack has the variables %v, the job files %v", got, want)
	}
}

package jobs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"serai/discovery"
	"serai/nomad"
)

// snippet is a piece of HCL in a document.
type snippet struct {
	name, text string
	body       *hclsyntax.Body
}

// fenced and indented are the two forms of code in documents: a block that says its
// language, and lines that begin with four blanks.
var (
	fenced   = regexp.MustCompile("(?ms)^```hcl\n(.*?)^```$")
	indented = regexp.MustCompile(`(?m)\n\n((?:    .*\n|\n)+)`)
)

// snippets returns the HCL of all documents. What says that it is HCL must be; indented
// lines are HCL if they can be read as such and have a block.
func snippets(t *testing.T) (found []snippet) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, m := range fenced.FindAllSubmatch(text, -1) {
			name := fmt.Sprintf("%s, block %d", path, i+1)
			file, diagnostics := hclparse.NewParser().ParseHCL(m[1], name)
			if diagnostics.HasErrors() {
				t.Error(diagnostics)
				continue
			}
			found = append(found, snippet{name, string(m[1]), file.Body.(*hclsyntax.Body)})
		}
		for i, m := range indented.FindAllSubmatch(text, -1) {
			name := fmt.Sprintf("%s, lines %d", path, i+1)
			file, diagnostics := hclparse.NewParser().ParseHCL(m[1], name)
			if body, ok := file.Body.(*hclsyntax.Body); ok && !diagnostics.HasErrors() && len(body.Blocks) > 0 {
				found = append(found, snippet{name, string(m[1]), body})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// only reports whether the snippet consists of blocks of these types, without labels, as a
// job has them: a policy of Consul has others of the same name.
func (s *snippet) only(types ...string) bool {
	return len(s.body.Attributes) == 0 && len(s.body.Blocks) > 0 &&
		!slices.ContainsFunc(s.body.Blocks, func(b *hclsyntax.Block) bool { return len(b.Labels) > 0 || !slices.Contains(types, b.Type) })
}

// TestNomadTakesTheDocuments has Nomad validate what documents say of jobs: blocks of a group,
// and of a task.
func TestNomadTakesTheDocuments(t *testing.T) {
	tried := 0
	for _, s := range snippets(t) {
		group, task := "", ""
		switch {
		case s.only("service"):
			group = s.text
		case s.only("identity", "env", "template"):
			task = s.text
		default:
			continue
		}
		tried++
		path := filepath.Join(t.TempDir(), "document.nomad.hcl")
		if err := os.WriteFile(path, fmt.Appendf(nil, `job "document" {
  group "document" {
    network {
      mode = "bridge"
      port "http" {}
    }
%s
    task "document" {
      driver = "raw_exec"
      config {
        command = "/bin/true"
      }
%s
    }
  }
}
`, group, task), 0o600); err != nil {
			t.Fatal(err)
		}
		validate(t, s.name, path)
	}
	if tried < 3 {
		t.Errorf("the documents have %d pieces of jobs; some are not found", tried)
	}
}

// TestTagsOfDocuments: what documents show as tags makes a route, and nothing of it is refused.
func TestTagsOfDocuments(t *testing.T) {
	tried := 0
	for _, s := range snippets(t) {
		f := jobFile{name: s.name}
		shown := append(blocks(s.body, "service"), &hclsyntax.Block{Body: s.body})
		for i, b := range shown {
			tags := f.list(t, b, "tags")
			if tags == nil {
				continue
			}
			tried++
			key := discovery.Key{Namespace: nomad.DefaultNamespace, Name: fmt.Sprintf("web-%d", i)}
			table := tableOf(t, &discovery.Snapshot{Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{{
				ID: key.Name, Service: key.Name, Namespace: key.Namespace, Job: "web", Alloc: "alloc", Tags: tags,
				Address: "10.0.0.1", Port: 20000, Created: 1, Modified: 1,
				Sidecar: &discovery.Sidecar{ID: key.Name + "-sidecar-proxy", Address: "10.0.0.1", Port: 21000, Service: key.Name, Datacenter: "dc1"},
			}}}}})
			if len(table.Routes()) == 0 || len(table.Rejections()) > 0 {
				t.Errorf("%s: %q make %d routes; refused: %v", s.name, tags, len(table.Routes()), table.Rejections())
			}
		}
	}
	if tried < 3 {
		t.Errorf("the documents have %d lists of tags; some are not found", tried)
	}
}

package testdoc_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// TestPackages: the table of packages in ARCHITECTURE.md has each package, and what it imports of ours.
func TestPackages(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Packages\n")
	table, _, _ = strings.Cut(table, "\n## ")
	are, told := packages(t), make(map[string]bool)
	name := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if !strings.HasPrefix(line, "| `") || len(cells) != 5 {
			continue
		}
		imports := make(map[string]bool)
		for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("ARCHITECTURE.md tells of %s: %v", m[1], err)
			}
			told[m[1]] = true
			maps.Copy(imports, are[m[1]])
		}
		for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
			delete(imports, m[1]) // they are told of together
		}
		want := strings.Join(slices.Sorted(maps.Keys(imports)), ", ")
		got := strings.Split(strings.TrimSpace(cells[3]), ", ")
		slices.Sort(got)
		if got := strings.Join(got, ", "); got != want && got != "all" && !(got == "-" && want == "") {
			t.Errorf("ARCHITECTURE.md has%simport\n%s, and they import\n%s", cells[1], got, want)
		}
	}
	for path := range are {
		if !told[path] {
			t.Errorf("ARCHITECTURE.md does not tell of package %s", path)
		}
	}
}

// packages returns the packages of our module, and which others of it each imports outside of tests.
func packages(t *testing.T) map[string]map[string]bool {
	all := make(map[string]map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if hidden := path != root && strings.HasPrefix(d.Name(), "."); hidden || d.Name() == "testdata" || path != root && err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if all[folder] == nil {
			all[folder] = make(map[string]bool)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			if path, err := strconv.Unquote(i.Path.Value); err == nil && strings.HasPrefix(path, "serai/") {
				all[folder][strings.TrimPrefix(path, "serai/")] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

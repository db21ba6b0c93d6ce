package admin_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serai/admin"
	"serai/discovery"
	"serai/router"
)

var update = flag.Bool("update", false, "rewrite the goldens in testdata")

// TestAnswers makes the request in the first line of each file in testdata/answers to a
// node that knows testdata/services.json. A new case is a new file with that line.
func TestAnswers(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{Owners: map[string][]string{"shop": {"*.shop.example.org"}}})
	n.load("testdata/services.json")
	key := discovery.Key{Namespace: "default", Name: "gone"}
	delete(n.known, key)
	n.publish() // it lingers from now on
	files, _ := filepath.Glob("testdata/answers/*.golden")
	if len(files) < 10 {
		t.Errorf("only %d cases are left", len(files))
	}
	var names []string
	for _, k := range router.Keys() {
		names = append(names, k.Name)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			request, _, _ := strings.Cut(string(text), "\n")
			status, body := n.get(strings.TrimPrefix(request, "GET "))
			body = strings.ReplaceAll(body, strings.Join(names, ", "), "NAMES OF ALL KEYS")
			golden(t, "answers/"+filepath.Base(file), fmt.Sprintf("%s\n%d\n%s", request, status, body))
		})
	}
}

// TestNothing answers empty arrays, never null, before there is a table.
func TestNothing(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for _, path := range []string{"/routes", "/instances", "/rejections"} {
		if status, body := n.get(path); status != 200 || body != "[]\n" {
			t.Errorf("%s answered %d %q, want []", path, status, body)
		}
	}
}

// TestIndex lists every page, and every listed page exists.
func TestIndex(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	_, body := n.get("/")
	if !strings.HasPrefix(body, "serai 1.2.3\n") {
		t.Errorf("the index does not begin with the version: %s", body)
	}
	found := 0
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "/") {
			continue
		}
		path, _, _ := strings.Cut(line, " ")
		found++
		if status, _ := n.get(path); status == 404 {
			t.Errorf("%s is listed and not there", path)
		}
	}
	for _, path := range []string{"/health", "/ready", "/metrics", "/routes", "/instances", "/rejections", "/explain", "/debug/pprof/"} {
		if !strings.Contains(body, path) {
			t.Errorf("%s is not listed", path)
		}
	}
	if found == 0 {
		t.Error("the index lists nothing")
	}
	if status, body := n.get("/health"); status != 200 || body != "ok\n" {
		t.Errorf("/health answered %d %q", status, body)
	}
	if status, body := n.get("/debug/pprof/goroutine?debug=1"); status != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("/debug/pprof/goroutine answered %d %.100s", status, body)
	}
	if status, _ := n.get("/nothing"); status != 404 {
		t.Errorf("a path that is none answered %d", status)
	}
}

// TestOptions: all errors are reported together.
func TestOptions(t *testing.T) {
	_, err := admin.New(admin.Options{Listeners: []admin.Listener{{Name: "http"}, {Name: "http"}}})
	for _, want := range []string{"router is missing", "registry is missing", "proxy is missing", `two listeners are called "http"`, `status of listener "http" is missing`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v does not say %q", err, want)
		}
	}
}

// TestProfilesAreBound: nobody can keep a profile running for hours.
func TestProfilesAreBound(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for _, path := range []string{
		"profile?seconds=100000", "trace?seconds=100000", "trace?seconds=1e300", "trace?seconds=1e999", "trace?seconds=NaN", "trace?seconds=Inf",
		"heap?seconds=61", "goroutine?seconds=100000", "profile?seconds=99999999999999999999",
	} {
		if status, body := n.get("/debug/pprof/" + path); status != 400 || !strings.Contains(body, "at most seconds=60") {
			t.Errorf("%s answered %d %.100s", path, status, body)
		}
	}
	for _, path := range []string{"trace?seconds=0.01", "heap", "heap?seconds=x"} {
		if status, body := n.get("/debug/pprof/" + path); status >= 500 || strings.Contains(body, "at most") {
			t.Errorf("%s answered %d %.100s", path, status, body)
		}
	}
}

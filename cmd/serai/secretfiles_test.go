package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"serai/policy"
)

// TestSecretFilesAreFollowed: a file that the config file refers to is read again when it
// changes, also one that had an error before the config file was ever applied.
func TestSecretFilesAreFollowed(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "users")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("bad")
	read := func(*configFile) (*configFile, error) {
		content, err := os.ReadFile(secret)
		if err == nil && string(content) == "bad" {
			err = errors.New("the secret is bad")
		}
		return &configFile{sums: map[string]fileSum{secret: sumOf(content)}}, err
	}
	r := newConfigReloader(&serveCommand{readAgain: read}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		for {
			select {
			case c := <-r.next:
				c.applied <- nil
			case <-ctx.Done():
				return
			}
		}
	})
	r.Ask()
	until(t, "the error", func() bool { return r.Status().Problem != "" })
	write("good")
	until(t, "what is mended", func() bool { s := r.Status(); return s.Problem == "" && s.Applied == 1 })
	write("better")
	until(t, "what has changed", func() bool { return r.Status().Applied == 2 })
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	until(t, "what is gone", func() bool { return r.Status().Problem != "" })
}

// TestUnchangedAuthStays: a reload makes an auth anew only when its block or one of its
// files has changed, so that it forgets nothing.
func TestUnchangedAuthStays(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(secret, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = "auth \"a\" {\n  magic {}\n}\n"
	var files fileReader
	known := &policy.Auth{Name: "a", Check: passes{}}
	last := &configFile{named: namedBlocks{read: map[string]readAuth{"a": {text: text[:len(text)-1], sums: map[string]fileSum{secret: files.sum(secret)}, Auth: known}}}}
	again := func(text string) (*policy.Auth, bool) {
		file, wrong := hclparse.NewParser().ParseHCL([]byte(text), "x.hcl")
		if wrong.HasErrors() {
			t.Fatal(wrong)
		}
		n := namedBlocks{files: &files}
		wrong = n.readAuth(file.Body.(*hclsyntax.Body).Blocks[0], []byte(text), last)
		return n.read["a"].Auth, wrong.HasErrors()
	}
	if a, wrong := again(text); a != known || wrong {
		t.Errorf("an auth that is the same is made anew: %v", wrong)
	}
	if a, wrong := again("http = \"x\"\n\n" + text); a != known || wrong {
		t.Errorf("an auth that stands elsewhere in the file is made anew: %v", wrong)
	}
	if a, wrong := again("auth \"a\" {\n  magic { }\n}\n"); a == known || !wrong {
		t.Error("an auth with another block is what it was")
	}
	if err := os.WriteFile(secret, []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, wrong := again(text); a == known || !wrong {
		t.Error("an auth with another file is what it was")
	}
}

// passes is an auth that lets all through.
type passes struct{}

func (passes) Request(policy.Request, *policy.Reply) bool { return false }
func (passes) Explain() string                            { return "passes" }

// TestFreshFilesAreReadAgain: what is read of a file that changes at the same moment is
// not taken for its last content.
func TestFreshFilesAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	var files fileReader
	if files.unchanged(files.sums([]string{path})) {
		t.Error("a file that has just changed is believed")
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if !files.unchanged(files.sums([]string{path})) {
		t.Error("an old file is read again")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	missing := files.sums([]string{path})
	if !files.unchanged(missing) {
		t.Error("a missing file is read again")
	}
	if err := os.WriteFile(path, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if files.unchanged(missing) {
		t.Error("a file that has come is not seen")
	}
}

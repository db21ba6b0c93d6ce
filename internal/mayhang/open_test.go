package mayhang_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"serai/internal/mayhang"
)

// TestOpen: all that comes through a FIFO is read, whenever its writer comes, to its end;
// one without a writer is given up when its path leads elsewhere.
func TestOpen(t *testing.T) {
	fifo := func(t *testing.T) (path string, content <-chan string) {
		t.Helper()
		path = filepath.Join(t.TempDir(), "fifo")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := mayhang.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan string, 1)
		go func() {
			defer f.Close()
			content, err := io.ReadAll(f)
			if err != nil {
				content = []byte(err.Error())
			}
			read <- string(content)
		}()
		return path, read
	}
	write := func(t *testing.T, path string) *os.File {
		t.Helper()
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	t.Run("a writer", func(t *testing.T) {
		path, read := fifo(t)
		w := write(t, path)
		want := strings.Repeat("0123456789", 20_000) // more than a pipe holds
		for range 2 {
			if _, err := io.WriteString(w, want); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		if got := <-read; got != want+want {
			t.Errorf("read %d bytes", len(got))
		}
	})
	for name, change := range map[string]func(path string) error{
		"removed":  os.Remove,
		"replaced": func(path string) error { return os.WriteFile(path+"2", nil, 0o600) },
		"another":  func(path string) error { return unix.Mkfifo(path+"2", 0o600) },
	} {
		for _, writer := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				path, read := fifo(t)
				if writer { // that says nothing
					defer write(t, path).Close()
				}
				err := change(path)
				if name != "removed" && err == nil {
					err = os.Rename(path+"2", path)
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := <-read; !strings.Contains(got, "has been replaced") {
					t.Errorf("read %q", got)
				}
			})
		}
	}
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte("all"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := mayhang.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if content, err := io.ReadAll(f); string(content) != "all" || err != nil {
			t.Errorf("read %q, %v", content, err)
		}
	})
}

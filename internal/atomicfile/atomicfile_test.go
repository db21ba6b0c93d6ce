package atomicfile_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"serai/internal/atomicfile"
)

// asWriter makes the test process one that is killed while it writes a file.
const asWriter = "ATOMICFILE_WRITES"

func TestMain(m *testing.M) {
	if name := os.Getenv(asWriter); name != "" {
		atomicfile.Write(name, false, func(w io.Writer) error {
			io.WriteString(w, "half")
			io.WriteString(os.Stdout, "writing\n")
			select {}
		})
	}
	os.Exit(m.Run())
}

func files(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), "-")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// TestKilledWriter leaves a file, which the next start removes; the file of a process
// that is still writing stays.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	below := filepath.Join(dir, "below")
	if err := atomicfile.Directory(below); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	writer := exec.Command(self)
	writer.Env = append(os.Environ(), asWriter+"="+filepath.Join(below, "file"))
	said, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "writing\n" {
		t.Fatal(line, err)
	}
	if err := atomicfile.Directory(dir); err != nil {
		t.Fatal(err)
	}
	if got := files(t, below); got != ".new" {
		t.Errorf("while another process writes there is %q", got)
	}
	writer.Process.Kill()
	writer.Wait()
	if err := atomicfile.Directory(dir); err != nil {
		t.Fatal(err)
	}
	if got := files(t, below); got != "" {
		t.Errorf("after it was killed there is %q", got)
	}
}

// TestCleaningLeavesWritersAlone: writes succeed while others clean up.
func TestCleaningLeavesWritersAlone(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	var cleaning, writing sync.WaitGroup
	for range 2 {
		cleaning.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					atomicfile.Directory(dir)
				}
			}
		})
	}
	for _, name := range []string{"a", "b"} {
		writing.Go(func() {
			for range 300 {
				if err := atomicfile.Replace(filepath.Join(dir, name), []byte(name), false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	cleaning.Wait()
	if got := files(t, dir); got != "a b" {
		t.Errorf("left over: %q", got)
	}
}

// TestFailedWrite leaves the old file, and nothing else.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	if err := atomicfile.Replace(name, []byte("old"), true); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	if err := atomicfile.Write(name, true, func(io.Writer) error { return failed }); err != failed {
		t.Error(err)
	}
	if content, _ := os.ReadFile(name); string(content) != "old" || files(t, dir) != "a" {
		t.Errorf("%q, %q", content, files(t, dir))
	}
}

// TestOthersMayNotWrite to a directory of ours.
func TestOthersMayNotWrite(t *testing.T) {
	for _, c := range []struct {
		mode os.FileMode
		ok   bool
	}{{0o700, true}, {0o755, true}, {0o750, true}, {0o770, false}, {0o702, false}, {0o777, false}, {0o777 | os.ModeSticky, false}} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, c.mode); err != nil {
			t.Fatal(err)
		}
		err := atomicfile.Directory(dir)
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("mode %v: %v", c.mode, err)
		}
		link := dir + "-link"
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		if err := atomicfile.Directory(link); (err == nil) != c.ok {
			t.Errorf("a link to mode %v: %v", c.mode, err)
		}
	}
	if os.Geteuid() == 0 {
		dir := t.TempDir()
		if err := os.Chown(dir, 12345, 0); err != nil {
			t.Skip(err)
		}
		if err := atomicfile.Directory(dir); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Error(err)
		}
		os.Chown(dir, 0, 0)
	}
}

// TestErrorsNameTheFile: the same problem has the same text each time.
func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{filepath.Join(dir, "missing", "file"): os.ErrNotExist, taken: os.ErrExist} {
		first, second := atomicfile.Replace(name, nil, false), atomicfile.Replace(name, nil, false)
		if first == nil || second == nil || first.Error() != second.Error() || !strings.Contains(first.Error(), name+": ") {
			t.Errorf("%s: %v, then %v", name, first, second)
		}
		if !errors.Is(first, want) {
			t.Errorf("%s: %v is not %v", name, first, want)
		}
	}
	full := errors.New("full")
	if err := atomicfile.Write(filepath.Join(dir, "file"), false, func(io.Writer) error { return full }); err != full {
		t.Errorf("the writer's own error became %v", err)
	}
	if got := files(t, dir); got != "taken" {
		t.Errorf("there is left %q", got)
	}
}

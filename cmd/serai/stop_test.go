package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"serai/internal/testnet"
)

// fifo makes one, and returns what is opened for writing once somebody reads it.
func fifo(t *testing.T, dir, name string) (path string, read func() *os.File) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func() (w *os.File) {
		t.Helper()
		until(t, "a reader of "+name, func() (ok bool) {
			fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			w = os.NewFile(uintptr(fd), path)
			return err == nil
		})
		t.Cleanup(func() { w.Close() })
		return w
	}
}

// bare is a process of serai's with addresses that nobody else has.
func bare(t *testing.T) *node {
	return &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
}

// TestStopWhileAFileHangs: a FIFO that nobody writes to does not keep serai from
// ending, whatever setting names it.
func TestStopWhileAFileHangs(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"services", "config", "sticky-key-file", "access-log"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			path, read := fifo(t, t.TempDir(), "fifo")
			args := []string{"--no-nomad", "--services=" + servicesFile(t, "a.example.org"), "--" + flag + "=" + path}
			if flag == "services" {
				args = []string{"--no-nomad", "--services=" + path}
			}
			n := bare(t)
			n.run(nil, args...)
			if flag == "access-log" { // which is opened for writing
				until(t, "the start", func() bool { return strings.Contains(n.output.String(), "serai starts") })
			} else {
				read()
			}
			n.kill(syscall.SIGTERM)
		})
	}
}

// unread makes a FIFO that is open for reading, and that nobody reads.
func unread(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
}

// fillLog has the access log be written more than a pipe takes.
func (n *node) fillLog() {
	for range 300 {
		get(n.http, "nobody.example.org", "/"+strings.Repeat("x", 1000))
	}
}

// TestAccessLogThatHangs: a FIFO that is read no more, to which lines are being written, keeps no SIGHUP from having the config file read, nor
// serai from ending.
func TestAccessLogThatHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, config := filepath.Join(dir, "access.log"), filepath.Join(dir, "serai.hcl")
	unread(t, path)
	if err := os.WriteFile(config, []byte("# nothing yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := bare(t)
	n.run(nil, "--no-nomad", "--services="+servicesFile(t, "a.example.org"), "--access-log="+path, "--config="+config)
	until(t, "serai to be ready", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	n.fillLog()
	if err := os.WriteFile(config, []byte("wrong {"), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := n.admin
	refused := func() (n int) {
		fmt.Sscan(strings.TrimPrefix(metric(admin, `serai_config_reloads_total{result="refused"} `), `serai_config_reloads_total{result="refused"} `), &n)
		return n
	}
	until(t, "the error to be seen", func() bool { return refused() > 0 })
	for range 3 { // with each it is read again, although nothing has changed
		before := refused()
		n.cmd.Process.Signal(syscall.SIGHUP)
		until(t, "the config file to be read", func() bool { return refused() > before })
	}
	n.kill(syscall.SIGTERM)
}

// TestAccessLogAfterOneThatHangs: once another file is where a FIFO that is read no more has been, SIGHUP frees the
// access log, and a FIFO there that nobody opens does not keep serai from ending long after its drain.
func TestAccessLogAfterOneThatHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	unread(t, path)
	n := bare(t)
	n.run(nil, "--no-nomad", "--services="+servicesFile(t, "a.example.org"), "--access-log="+path)
	until(t, "serai to be ready", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	n.fillLog()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	n.cmd.Process.Signal(syscall.SIGHUP)
	until(t, "a line in the new file", func() bool {
		get(n.http, "nobody.example.org", "/after")
		text, _ := os.ReadFile(path)
		return strings.Contains(string(text), "/after")
	})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	n.cmd.Process.Signal(syscall.SIGHUP)
	until(t, "it to hang", func() bool { return strings.Contains(n.output.String(), "cannot be reopened yet") })
	n.kill(syscall.SIGTERM)
	if strings.Contains(n.output.String(), "parts of it have not stopped") {
		t.Error("the FIFO held up the end")
	}
}

// TestStopWhileAMountHangs: a mount whose server is stopped keeps neither requests from being answered, nor SIGHUP
// from being survived, nor serai from ending, whatever of it lies there.
func TestStopWhileAMountHangs(t *testing.T) {
	t.Parallel()
	bindfs, err := exec.LookPath("bindfs")
	if err != nil {
		t.Skip("bindfs is not installed (Debian: apt-get install bindfs): nothing of this test was run")
	}
	for name, flags := range map[string]string{
		"services": "--services=MOUNT/services.json", "config": "--config=MOUNT/serai.hcl", "state": "--state-dir=MOUNT/state",
		"certificates": "--cert-dir=MOUNT/certs", "tokens": "--admin-token-file=MOUNT/tokens",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behind, mount := t.TempDir(), t.TempDir()
			services := servicesFile(t, "a.example.org")
			text, err := os.ReadFile(services)
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string][]byte{"services.json": text, "serai.hcl": []byte("# nothing yet\n"), "tokens": []byte(strings.Repeat("t", 32))} {
				if err := os.WriteFile(filepath.Join(behind, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"state", "certs"} {
				if err := os.Mkdir(filepath.Join(behind, name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			server := exec.Command(bindfs, "-f", behind, mount)
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				server.Process.Signal(syscall.SIGCONT)
				exec.Command("fusermount", "-u", "-z", mount).Run()
				server.Process.Kill()
				server.Wait()
			}()
			until(t, "the mount", func() bool { _, err := os.Stat(filepath.Join(mount, "services.json")); return err == nil })
			n := bare(t)
			args := []string{"--no-nomad", strings.ReplaceAll(flags, "MOUNT", mount)}
			if name != "services" {
				args = append(args, "--services="+services)
			}
			n.run(nil, args...)
			served := func() bool { status, _ := get(n.http, "a.example.org", "/"); return status == 200 }
			until(t, "serai to serve", served)
			server.Process.Signal(syscall.SIGSTOP)
			if name == "services" || name == "config" {
				until(t, "the read to hang", func() bool { return strings.Contains(n.output.String(), "hangs") })
			}
			n.cmd.Process.Signal(syscall.SIGHUP)
			if status, _ := get(n.admin, "", "/health"); status != 200 || !served() {
				t.Error("while it hangs, requests are not answered")
			}
			n.kill(syscall.SIGTERM)
		})
	}
}

// TestStopWhileNomadsCAHangs: nor does one that the environment names.
func TestStopWhileNomadsCAHangs(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"NOMAD_CACERT"}, {"NOMAD_CLIENT_CERT", "NOMAD_CLIENT_KEY"}} {
		t.Run(names[0], func(t *testing.T) {
			t.Parallel()
			path, read := fifo(t, t.TempDir(), "fifo")
			n := bare(t)
			env := []string{"NOMAD_ADDR=https://127.0.0.1:1"}
			for _, name := range names {
				env = append(env, name+"="+path)
			}
			n.run(env)
			read()
			n.kill(syscall.SIGTERM)
		})
	}
}

// TestHangupAtTheStart: a SIGHUP never ends serai, also before it has read its
// settings.
func TestHangupAtTheStart(t *testing.T) {
	t.Parallel()
	path, read := fifo(t, t.TempDir(), "serai.hcl")
	n := bare(t)
	n.run(nil, "--no-nomad", "--services="+servicesFile(t, "a.example.org"), "--config="+path)
	config := read()
	for range 3 {
		n.cmd.Process.Signal(syscall.SIGHUP)
	}
	io.WriteString(config, "drain_timeout = \"2s\"\n")
	config.Close()
	until(t, "serai to be ready", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	n.kill(syscall.SIGTERM)
}

// TestStandardOutputIsClosed: the end of whoever reads the access log does not end
// serai.
func TestStandardOutputIsClosed(t *testing.T) {
	t.Parallel()
	n := bare(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	n.stdout = w
	n.run(nil, "--no-nomad", "--services="+servicesFile(t, "a.example.org"), "--access-log=stdout")
	w.Close()
	r.Close()
	until(t, "serai to be ready", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	until(t, "lines to be lost", func() bool {
		get(n.http, "nobody.example.org", "/")
		_, metrics := get(n.admin, "", "/metrics")
		return strings.Contains(metrics, "\nserai_access_log_dropped_total ") && !strings.Contains(metrics, "\nserai_access_log_dropped_total 0\n")
	})
	n.kill(syscall.SIGTERM)
}

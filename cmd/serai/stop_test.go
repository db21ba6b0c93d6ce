package main

import (
	"io"
	"os"
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

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
	"serai/tls/certstore"
)

// TestStartWithManyCertificates starts with certificates from each place that
// they can come from, and tells how soon the last one is served and what they
// cost: 200, or as many as SERAI_TEST_CERTIFICATES says.
func TestStartWithManyCertificates(t *testing.T) {
	count := 200
	if n, err := strconv.Atoi(os.Getenv("SERAI_TEST_CERTIFICATES")); err == nil {
		count = n
	}
	_, url, _ := nomadtest.Simulator(t)
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	store := &certstore.Variables{Client: client, Prefix: certPrefix}
	issuer, many, one := authority(t), t.TempDir(), t.TempDir()
	last := ""
	for i := range count {
		last = fmt.Sprintf("host-%d.example.org", i)
		issuer.write(t, many, last, last)
		items := map[string]string{"name": last, "ca": "ca", "json": "{}", "crt": read(t, many, last+".crt"), "key": read(t, many, last+".key")}
		if _, err := store.Put(context.Background(), certstore.Path("tls", "certs", "ca", last), items, 0); err != nil {
			t.Fatal(err)
		}
	}
	issuer.write(t, one, last, last)
	services, state := servicesFile(t, "web.example.org"), t.TempDir()
	for _, c := range []struct {
		name string
		args []string
	}{
		{"one, from a file", []string{"--cert-dir=" + one}},
		{"all, from files", []string{"--cert-dir=" + many}},
		{"all, from Nomad", []string{"--cert-store=nomad"}},
		{"all, from Nomad, and a copy is made", []string{"--cert-store=nomad", "--state-dir=" + state}},
		{"all, from this node's copy", []string{"--cert-store=nomad", "--state-dir=" + state}},
	} {
		n := &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
		began := time.Now()
		n.run([]string{"NOMAD_ADDR=" + url}, append(c.args, "--services="+services)...)
		until(t, "the last certificate", func() bool { return n.serial(last) != "" })
		took := time.Since(began).Round(time.Millisecond)
		if want := count; c.name != "one, from a file" {
			until(t, "all certificates", func() bool { return len(n.certificates().Certificates) == want })
		}
		t.Logf("%d certificates, %s: served %v after the start, %s", count, c.name, took, memoryOf(n.cmd.Process.Pid))
		n.kill(syscall.SIGTERM)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// memoryOf returns the line about a process's memory in /proc.
func memoryOf(pid int) string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return "memory unknown"
}

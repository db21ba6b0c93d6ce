package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPolicyBenches: each scenario has a host of its own, which all proxies have that can apply
// its rule.
func TestPolicyBenches(t *testing.T) {
	policies, err := newPolicySetting(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(policies.Networks); n != 1000 {
		t.Errorf("%d networks", n)
	}
	s := setting{Dir: t.TempDir(), Origin: "127.0.0.1:1", GRPC: "127.0.0.1:1", Plain: "127.0.0.1:2", H2C: "127.0.0.1:3", Secure: "127.0.0.1:4", Policies: policies}
	for _, k := range peerKinds() {
		if !k.rules {
			continue
		}
		for _, name := range k.files {
			if err := writePeerFile(s, name); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(s.file(k.files[0]))
		if err != nil {
			t.Fatal(err)
		}
		var hosts []string
		for _, b := range policyBenches() {
			if slices.Contains(hosts, b.rule.host) || strings.Contains(string(text), b.rule.host) == slices.Contains(b.rule.lacking, k.name) {
				t.Errorf("%s: host %s", k.name, b.rule.host)
			}
			hosts = append(hosts, b.rule.host)
		}
		if k.files[0] == "services.json" && !json.Valid(text) {
			t.Errorf("not JSON:\n%s", text)
		}
	}
	// The programs read them, where they are.
	if binary, err := exec.LookPath("haproxy"); err == nil {
		s.Cert, s.Key, s.Pem = filepath.Join(s.Dir, "default.crt"), filepath.Join(s.Dir, "default.key"), filepath.Join(s.Dir, "both.pem")
		s.Conns = 1000
		if err := writeCertificate(s); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"haproxy.cfg", "nginx.conf"} {
			if err := writePeerFile(s, name); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command(binary, "-c", "-f", s.file("haproxy.cfg")).CombinedOutput(); err != nil {
			t.Errorf("haproxy: %v\n%s", err, out)
		}
		if binary, err := exec.LookPath("nginx"); err == nil {
			if out, err := exec.Command(binary, "-t", "-p", s.Dir, "-c", s.file("nginx.conf")).CombinedOutput(); err != nil {
				t.Errorf("nginx: %v\n%s", err, out)
			}
		}
	}
}

func TestJSONDocument(t *testing.T) {
	d := jsonDocument(64 << 10)
	if len(d) > 64<<10 || len(d) < 63<<10 || !json.Valid(d) || string(d) != string(jsonDocument(64<<10)) {
		t.Errorf("%d bytes that begin with %.200s", len(d), d)
	}
}

// TestGeneratorsSendClients: both generators name all clients, and send the fields.
func TestGeneratorsSendClients(t *testing.T) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		t.Skip("wrk is not on PATH")
	}
	g, err := newWrk(t.Context(), wrk, ask{url: "http://127.0.0.1:1/", conns: 1, clients: 1000, host: "a.loadtest", fields: []string{"X-A: 1"}, lasts: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(g.files[0])
	script, err := os.ReadFile(g.files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`wrk.headers["Host"] = "a.loadtest"`, `wrk.headers["X-A"] = "1"`, "(i + 7919) % 1000"} {
		if !strings.Contains(string(script), want) {
			t.Errorf("the script has no %s:\n%s", want, script)
		}
	}
}

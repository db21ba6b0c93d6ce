package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"serai/internal/testnet"
	"serai/nomad"
)

// readers are clients of an address that ask for a path each, in turn, and take nothing of the answers.
func readers(t *testing.T, address string, n int, paths ...string) {
	t.Helper()
	small := net.Dialer{Timeout: long, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2048) })
	}}
	for i := range n {
		c, err := small.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "GET "+paths[i%len(paths)]+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
}

// TestAdminReaders: clients of the admin that take nothing of large answers, more of them than it has connections and
// than there is memory for, keep nobody from being answered, and hold no more than --admin-memory.
func TestAdminReaders(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "services.json")
	one := instance(t, "web")
	all := make([]nomad.Registration, 5000)
	for i := range all {
		all[i] = one
		all[i].ServiceName, all[i].ID = fmt.Sprintf("web-%d", i), fmt.Sprintf("web-%d", i)
		all[i].Tags = []string{fmt.Sprintf("ingress.host=host-%d.example.org", i)}
	}
	writeServices(t, file, all...)
	n := &node{t: t, http: testnet.Address(t), https: testnet.Address(t), admin: testnet.Address(t), output: &buffer{}}
	const limit = 2 << 20
	n.run(nil, "--no-nomad", "--services="+file, "--write-idle=1h", "--max-claims-namespace=100000", fmt.Sprintf("--admin-memory=%d", limit))
	defer n.kill(syscall.SIGTERM)
	until(t, "readiness", func() bool { status, _ := get(n.admin, "", "/ready"); return status == 200 })
	client := &http.Client{Timeout: long / 2, Transport: &http.Transport{DisableKeepAlives: true}}
	answered := func(path string) (body string) {
		t.Helper()
		until(t, path+" to be answered beside those who read nothing", func() bool {
			res, err := client.Get("http://" + n.admin + path)
			if err != nil {
				return false
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			body = string(text)
			return err == nil && res.StatusCode == 200
		})
		return body
	}
	for _, path := range []string{"/routes", "/instances", "/api/v1/routes?limit=1000", "/ui/routes?limit=1000"} {
		answered(path) // what the first of each needs is no part of what is measured
	}
	before := n.resident(t, "VmHWM")
	for range 8 {
		readers(t, n.admin, 40, "/routes", "/instances", "/api/v1/routes?limit=1000", "/api/v1/instances?limit=1000", "/ui/routes?limit=1000")
		answered("/health")
		answered("/ready")
	}
	var taken float64
	metrics := answered("/metrics")
	_, rest, _ := strings.Cut(metrics, "\nserai_admin_answers_bytes ")
	if _, err := fmt.Sscan(rest, &taken); err != nil || taken > limit {
		t.Errorf("answers hold %.0f bytes of %d, %v", taken, limit, err)
	}
	if strings.Contains(metrics, "\nserai_admin_connections_recalled_total 0\n") {
		t.Error("none of those who read nothing has made room")
	}
	answered("/routes")
	most := n.resident(t, "VmHWM")
	t.Logf("%d KiB were resident at most, of %d before", most, before)
	if most > before+memoryFactor*32<<10 {
		t.Errorf("%d KiB were resident, of %d before", most, before)
	}
}

package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
)

// closedPort returns a port of the loopback where nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestUnservedLeavesATrace: requests that get 503 leave one line for a route in
// some seconds, with the causes; /explain has them, too.
func TestUnservedLeavesATrace(t *testing.T) {
	down := nomad.Registration{ID: "id-down", ServiceName: "down", Namespace: "shop", AllocID: "alloc-down", JobID: "down",
		Address: "127.0.0.1", Port: closedPort(t), Tags: []string{"ingress.host=down.example.org", "ingress.wait=100ms"}}
	other := down
	other.ID, other.ServiceName, other.Port, other.Tags = "id-other", "other", closedPort(t), []string{"ingress.host=other.example.org", "ingress.wait=0s"}
	sim, url, _ := nomadtest.Simulator(t)
	sim.CreateNamespace("shop")
	sim.Register(down, other)
	traffic, admin := testnet.Address(t), testnet.Address(t)
	p := start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+traffic, "--admin="+admin, "--drain-delay=0s")
	causes := fmt.Sprintf("0 of 1 ready: 127.0.0.1:%d connection refused since ", down.Port)
	until(t, "the first probe", func() bool {
		_, body := get(admin, "localhost", "/explain?host=down.example.org")
		return strings.Contains(body, causes)
	})
	for range 20 {
		for _, host := range []string{"down.example.org", "other.example.org"} {
			if status, body := get(traffic, host, "/"); status != 503 {
				t.Fatalf("%s answered %d %s", host, status, body)
			}
		}
	}
	var lines []string
	for line := range strings.Lines(p.stderr.String()) {
		if strings.Contains(line, "answered 503") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 2 {
		t.Fatalf("%d lines of two routes, want one of each: %q", len(lines), lines)
	}
	for _, want := range []string{"level=WARN", "reason=no-instance", "namespace=shop", "service=down", causes, "host=down.example.org", "not_logged=0"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("the line lacks %q: %s", want, lines[0])
		}
	}
}

// TestNearTagsAreTold: a service whose tags only look like ours is listed, at the
// start and later, with what to write instead.
func TestNearTagsAreTold(t *testing.T) {
	first, second := instance(t, "first", "ingres.host=first.example.org"), instance(t, "second", "Ingress.Host=second.example.org")
	sim, url, _ := nomadtest.Simulator(t, first)
	traffic, admin := testnet.Address(t), testnet.Address(t)
	start(t, map[string]string{"NOMAD_ADDR": url}, "serve", "--http="+traffic, "--admin="+admin, "--drain-delay=0s")
	told := func(service, instead string) {
		until(t, "the tag of "+service+" to be told", func() bool {
			_, body := get(admin, "localhost", "/rejections?service="+service)
			return strings.Contains(body, `"instead": "`+instead+`"`)
		})
	}
	told("first", "ingress.host=first.example.org")
	sim.Register(second)
	told("second", "ingress.host=second.example.org")
	for _, host := range []string{"first.example.org", "second.example.org"} {
		if status, _ := get(traffic, host, "/"); status != 404 {
			t.Errorf("%s answered %d: it must not be exposed", host, status)
		}
	}
}

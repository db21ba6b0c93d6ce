package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
)

func TestOwnAddresses(t *testing.T) {
	own := &ownAddresses{listeners: []ownListener{
		{"http", netip.MustParseAddrPort("0.0.0.0:80")},
		{"https", netip.MustParseAddrPort("[::]:443")},
		{"admin", netip.MustParseAddrPort("127.0.0.1:8081")},
	}}
	for address, want := range map[string]string{
		"127.0.0.1:80": "the listener http", "127.9.9.9:80": "the listener http", "[::1]:443": "the listener https", "127.0.0.1:443": "the listener https",
		"127.0.0.1:8081": "the listener admin", "127.0.0.2:8081": "", "127.0.0.1:8080": "", "192.0.2.1:80": "",
	} {
		if name := own.name(netip.MustParseAddrPort(address)); name != want {
			t.Errorf("%s is %q, want %q", address, name, want)
		}
	}
}

// TestAgentsAddress: where NOMAD_ADDR says that the agent is, and on all addresses of
// this machine where that is one of them.
func TestAgentsAddress(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ agent, there, not string }{
		{"http://127.0.0.1:14646", "127.0.0.1:14646 127.9.9.9:14646 [::1]:14646", "127.0.0.1:4646 192.0.2.1:14646"},
		{"https://localhost:14646", "127.0.0.1:14646 [::1]:14646", "192.0.2.1:14646"},
		{"https://LOCALHOST", "127.0.0.1:443", "127.0.0.1:80"},
		{"http://[::1]/nomad", "127.0.0.1:80", "127.0.0.1:443"},
		{"http://" + name + ":14646", "127.0.0.1:14646", "192.0.2.1:14646"},
		{"http://192.0.2.1:14646", "192.0.2.1:14646", "127.0.0.1:14646 192.0.2.2:14646"},
		{"http://[::ffff:192.0.2.1]:14646", "192.0.2.1:14646", "127.0.0.1:14646"},
		{"https://nomad.example.org", "", "127.0.0.1:443 192.0.2.1:443"},
		{"unix:///secrets/api.sock", "", "127.0.0.1:0 127.0.0.1:80"},
		{"", "", "127.0.0.1:0"},
	} {
		var own ownAddresses
		own.agent = agentAt(c.agent)
		for _, a := range strings.Fields(c.there) {
			if !own.nomad(netip.MustParseAddrPort(a)) {
				t.Errorf("the agent at %s is not known to be at %s", c.agent, a)
			}
		}
		for _, a := range strings.Fields(c.not) {
			if own.nomad(netip.MustParseAddrPort(a)) {
				t.Errorf("the agent at %s is thought to be at %s", c.agent, a)
			}
		}
	}
}

// TestInstanceAtTheAgent: a job cannot publish the agent that this serai asks.
func TestInstanceAtTheAgent(t *testing.T) {
	sim, agent, _ := nomadtest.Simulator(t)
	u, err := url.Parse(agent)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(u.Host)
	a := newTeam(t, sim, "team-a", "ingress.host=good.test")
	a.come()
	sim.Register(nomad.Registration{ID: "x", ServiceName: "agent", Namespace: "team-a", NodeID: "n", Address: "127.0.0.1", Port: int(at.Port()), Tags: []string{"ingress.host=agent.test"}})
	n := newIngress(t, agent)
	n.serves("good.test", "team-a")
	until(t, "the refusal", func() bool {
		_, refused := get(n.admin, "localhost", "/rejections")
		return strings.Contains(refused, fmt.Sprintf("port %d is one of Nomad's own", at.Port()))
	})
	if status, body := get(n.traffic, "agent.test", "/v1/status/leader"); status != 404 {
		t.Errorf("the agent answers %d %s", status, body)
	}
}

// TestInstanceAtOwnAddress: a service that is registered at serai's listener or
// at its admin address is refused, and says why.
func TestInstanceAtOwnAddress(t *testing.T) {
	http, admin := testnet.Address(t), testnet.Address(t)
	port := func(address string) int { return int(netip.MustParseAddrPort(address).Port()) }
	good := instance(t, "good", "ingress.host=good.test")
	file := filepath.Join(t.TempDir(), "services.json")
	text, err := json.Marshal([]nomad.Registration{good,
		{ID: "a", ServiceName: "loop", Namespace: "default", Address: "127.0.0.1", Port: port(http), Tags: []string{"ingress.host=loop.test"}},
		{ID: "b", ServiceName: "leak", Namespace: "default", Address: "127.0.0.1", Port: port(admin), Tags: []string{"ingress.host=leak.test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil, "serve", "--no-nomad", "--services="+file, "--http="+http, "--admin="+admin, "--drain-delay=0s")
	until(t, "the good service", func() bool { status, _ := get(http, "good.test", "/"); return status == 200 })
	for _, host := range []string{"loop.test", "leak.test"} {
		if status, body := get(http, host, "/metrics"); status != 404 {
			t.Errorf("%s: %d %s", host, status, body)
		}
	}
	_, rejections := get(admin, "localhost", "/rejections")
	for _, want := range []string{"is the listener http of this serai itself", "is the listener admin of this serai itself"} {
		if !strings.Contains(rejections, want) {
			t.Errorf("/rejections does not say %q: %s", want, rejections)
		}
	}
}

// TestPanicIsNotSwallowed: what is no panic of a request ends the process with a
// stack and a status that is not 0.
func TestPanicIsNotSwallowed(t *testing.T) {
	defer func() {
		if cause := recover(); cause != "planted" {
			t.Errorf("recovered %v, want the panic itself", cause)
		}
	}()
	var out buffer
	err := run(t.Context(), []string{"serve"}, func(string) string { panic("planted") }, &out, &out)
	t.Errorf("the command returned %v", err)
}

func TestNodeHasAddress(t *testing.T) {
	for _, c := range []struct {
		name, value string
		has         bool
	}{{"", "", false}, {"NOMAD_IP_http", "127.0.0.1", false}, {"NOMAD_IP_http", "10.0.0.5", true}, {"NOMAD_IP_https", "::1", false}, {"NOMAD_IP_http", "nonsense", false}} {
		getenv := func(name string) string {
			if name == c.name {
				return c.value
			}
			return ""
		}
		if has := nodeHasAddress(getenv); has != c.has {
			t.Errorf("with %s=%s: %v, want %v", c.name, c.value, has, c.has)
		}
	}
}

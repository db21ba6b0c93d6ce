package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"serai/consul"
	"serai/consul/consulsim"
	"serai/internal/consulagent"
	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadtest"
)

// putConsul registers an instance in Consul, with a check of that state.
func putConsul(t *testing.T, agent, token string, r nomad.Registration, state string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"Node": "n1", "Address": "192.0.2.1",
		"Service": map[string]any{"ID": r.ID, "Service": r.ServiceName, "Tags": r.Tags, "Address": r.Address, "Port": r.Port},
		"Check":   map[string]any{"Node": "n1", "CheckID": "service:" + r.ID, "Name": "works", "Status": state, "ServiceID": r.ID},
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPut, agent+"/v1/catalog/register", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", token)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the agent takes no registration: %s", res.Status)
	}
}

// realConsul runs a real agent until the test ends.
func realConsul(t *testing.T, c consulagent.Config) *consulagent.Agent {
	t.Helper()
	a := consulagent.New(t, c)
	a.Start(t)
	a.AwaitLeader(t)
	return a
}

// TestConsul: services in Consul are reached beside those of Nomad. One that is critical is
// kept, and told; when the agent is gone, all stay, also after a restart of serai.
func TestConsul(t *testing.T) {
	t.Parallel()
	a := realConsul(t, consulagent.Config{})
	_, nomadURL, _ := nomadtest.Simulator(t, instance(t, "mine", "ingress.host=nomad.example.org"))
	web := instance(t, "web", "ingress.host=consul.example.org", "ingress.wait=0s")
	putConsul(t, a.URL, "", web, consul.Passing)
	dir := t.TempDir()
	serve := func() (p *process, traffic, admin string) {
		traffic, admin = testnet.Address(t), testnet.Address(t)
		p = start(t, map[string]string{"NOMAD_ADDR": nomadURL}, "serve", "--consul="+a.URL, "--http="+traffic, "--admin="+admin, "--drain-delay=0s", "--state-dir="+dir)
		until(t, "readiness", func() bool { status, _ := get(traffic, "127.0.0.1", "/.serai/ready"); return status == 200 })
		return p, traffic, admin
	}
	p, traffic, admin := serve()
	for _, host := range []string{"nomad.example.org", "consul.example.org"} {
		until(t, host, func() bool { status, _ := get(traffic, host, "/"); return status == 200 })
	}
	putConsul(t, a.URL, "", web, consul.Critical)
	until(t, "503 while it is critical", func() bool { status, _ := get(traffic, "consul.example.org", "/"); return status == 503 })
	if _, body := get(admin, "localhost", "/explain?host=consul.example.org"); !strings.Contains(body, "is critical in Consul") {
		t.Errorf("/explain does not tell why: %s", body)
	}
	putConsul(t, a.URL, "", web, consul.Passing)
	until(t, "the instance, well again", func() bool { status, _ := get(traffic, "consul.example.org", "/"); return status == 200 })
	if got := metric(admin, `serai_consul_requests_total{kind="services",outcome="ok"}`); got == "" {
		t.Error("no request to Consul is counted")
	}
	a.Kill()
	until(t, "a complaint at /ready", func() bool {
		status, body := get(admin, "localhost", "/ready")
		return status == 200 && strings.Contains(body, "consul: stale since")
	})
	reached := func() {
		t.Helper()
		until(t, "the instance, without Consul", func() bool { status, _ := get(traffic, "consul.example.org", "/"); return status == 200 })
	}
	reached()
	p.stop()
	if err := p.wait(t); err != nil {
		t.Fatal(err)
	}
	_, traffic, _ = serve()
	reached()
}

// TestConsulAwayAtStart: a start that cannot ask Consul serves what Nomad has, says 503 and not
// 404 to other hosts, and is ready after a while; all is well when Consul comes.
func TestConsulAwayAtStart(t *testing.T) {
	t.Parallel()
	_, nomadURL, _ := nomadtest.Simulator(t, instance(t, "mine", "ingress.host=nomad.example.org"))
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := port.Addr().String()
	port.Close()
	traffic, admin := testnet.Address(t), testnet.Address(t)
	start(t, map[string]string{"NOMAD_ADDR": nomadURL}, "serve", "--consul="+at, "--http="+traffic, "--admin="+admin, "--drain-delay=0s")
	until(t, "the service in Nomad", func() bool { status, _ := get(traffic, "nomad.example.org", "/"); return status == 200 })
	if status, body := get(admin, "localhost", "/ready"); status != 503 || !strings.Contains(body, "consul: starting") {
		t.Errorf("/ready answered %d at once: %s", status, body)
	}
	unknown := func() (int, string) { return get(traffic, "consul.example.org", "/") }
	if status, body := unknown(); status != 503 || !strings.Contains(body, "starting") {
		t.Errorf("a host that Consul may have is answered %d %s", status, body)
	}
	until(t, "readiness without Consul", func() bool {
		status, body := get(admin, "localhost", "/ready")
		return status == 200 && strings.Contains(body, "ready without consul")
	})
	if status, _ := get(traffic, "127.0.0.1", "/.serai/ready"); status != 200 {
		t.Errorf("the ready path answered %d", status)
	}
	if status, body := unknown(); status != 503 {
		t.Errorf("a host that Consul may have is answered %d %s", status, body)
	}
	if port, err = net.Listen("tcp", at); err != nil {
		t.Skipf("somebody has taken the port of the agent meanwhile: %v", err)
	}
	sim := consulsim.New(consulsim.Options{})
	web := instance(t, "web", "ingress.host=consul.example.org")
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { sim.Run(ctx, port); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	putConsul(t, "http://"+at, "", web, consul.Passing)
	until(t, "the service in Consul", func() bool { status, _ := unknown(); return status == 200 })
	until(t, "404 for what nobody has", func() bool { status, _ := get(traffic, "nobody.example.org", "/"); return status == 404 })
	until(t, "readiness without a remark", func() bool {
		status, body := get(admin, "localhost", "/ready")
		return status == 200 && !strings.Contains(body, "ready without")
	})
}

// TestConsulAlone: without Nomad, and with no more than Consul's own variables; a right that
// is missing is told with the policy that gives it.
func TestConsulAlone(t *testing.T) {
	t.Parallel()
	const management = "0e7c0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d55"
	a := realConsul(t, consulagent.Config{Token: management})
	putConsul(t, a.URL, management, instance(t, "web", "ingress.host=consul.example.org"), consul.Passing)
	traffic := testnet.Address(t)
	start(t, map[string]string{"CONSUL_HTTP_ADDR": strings.TrimPrefix(a.URL, "http://"), "CONSUL_HTTP_TOKEN": management},
		"serve", "--no-nomad", "--consul", "--http="+traffic, "--admin=", "--drain-delay=0s")
	until(t, "the service", func() bool { status, _ := get(traffic, "consul.example.org", "/"); return status == 200 })

	stranger := start(t, map[string]string{"SERAI_CONSUL": a.URL, "CONSUL_HTTP_TOKEN": "00000000-0000-0000-0000-000000000009"},
		"serve", "--no-nomad", "--http="+testnet.Address(t), "--admin=", "--drain-delay=0s")
	until(t, "a word about the token", func() bool { return strings.Contains(stranger.stderr.String(), "the token is unknown or expired") })

	anonymous := start(t, map[string]string{"SERAI_CONSUL": a.URL}, "serve", "--no-nomad", "--http="+testnet.Address(t), "--admin=", "--drain-delay=0s")
	until(t, "the policy", func() bool {
		said := anonymous.stderr.String()
		return strings.Contains(said, `service_prefix ""`) && strings.Contains(said, "consul acl policy create")
	})
}

// TestConsulFlags: what --consul may be.
func TestConsulFlags(t *testing.T) {
	for value, want := range map[string]consulFlag{
		"--consul": {given: true}, "--consul=true": {given: true}, "--consul=false": {}, "--consul=": {},
		"--consul=10.0.0.1:8500": {true, "10.0.0.1:8500"}, "--consul=unix:///run/consul.sock": {true, "unix:///run/consul.sock"},
	} {
		var c commands
		if _, err := parse(t.Context(), &c, []string{"serve", value}, func(string) string { return "" }, io.Discard, io.Discard); err != nil || c.Serve.Consul != want {
			t.Errorf("%s is %+v, %v, want %+v", value, c.Serve.Consul, err, want)
		}
	}
}

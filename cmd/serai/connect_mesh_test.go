package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"serai/consul/consulsim"
	"serai/internal/consulagent"
	"serai/internal/testnet"
)

// meshAgent is an agent of Consul with sidecars, simulated or real.
type meshAgent interface {
	url() string
	// sidecar runs a sidecar of a registered service that passes bytes on to a local address.
	sidecar(t *testing.T, id, service, listen, local string)
	// rotate makes a new root the active one.
	rotate(t *testing.T)
}

var meshAgents = map[string]func(t *testing.T) meshAgent{"simulator": newSimulatedMesh, "a real agent": newRealMesh}

// onMeshes runs a test with each kind of agent.
func onMeshes(t *testing.T, test func(t *testing.T, a meshAgent)) {
	for name, agent := range meshAgents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, agent(t))
		})
	}
}

type simulatedMesh struct {
	*consulsim.Sim
	address string
}

func newSimulatedMesh(t *testing.T) meshAgent { return simulateMesh(t, consulsim.Options{}) }

func simulateMesh(t *testing.T, o consulsim.Options) *simulatedMesh {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &simulatedMesh{consulsim.New(o), "http://" + l.Addr().String()}
	until := untilTheEnd(t)
	go until(func(ctx context.Context) { m.Run(ctx, l) })
	return m
}

// untilTheEnd returns what runs something until the test ends, which waits for it.
func untilTheEnd(t *testing.T) func(func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return func(run func(context.Context)) {
		defer close(ended)
		run(ctx)
	}
}

func (m *simulatedMesh) url() string         { return m.address }
func (m *simulatedMesh) rotate(t *testing.T) { m.RotateRoots() }

func (m *simulatedMesh) sidecar(t *testing.T, _, service, listen, local string) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	until := untilTheEnd(t)
	go until(func(ctx context.Context) { m.ServeSidecar(ctx, l, service, local) })
}

type realMesh struct{ *consulagent.Agent }

func newRealMesh(t *testing.T) meshAgent { return &realMesh{realConsul(t, consulagent.Config{})} }

func (m *realMesh) url() string { return m.URL }

// sidecar runs `consul connect proxy`, which asks the agent where to listen.
func (m *realMesh) sidecar(t *testing.T, id, _, listen, _ string) {
	t.Helper()
	cmd := exec.Command(consulagent.Binary(), "connect", "proxy", "-http-addr="+m.URL, "-sidecar-for="+id)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CONSUL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the sidecar of %s said:\n%s", id, said.String())
		}
	})
	until(t, "the sidecar", func() bool {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// rotate gives the servers another key for their authority.
func (m *realMesh) rotate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	putMesh(t, m.URL, "", "/v1/connect/ca/configuration", map[string]any{"Provider": "consul", "Config": map[string]any{"PrivateKey": text, "LeafCertTTL": "72h"}})
}

// putMesh makes a request that must succeed.
func putMesh(t *testing.T, agent, token, path string, body any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPut, agent+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Consul-Token", token)
	r.Close = true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if said, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s %s", path, res.Status, said)
	}
}

// intend allows or denies connections of serai to a service.
func intend(t *testing.T, a meshAgent, service, action string) {
	t.Helper()
	putMesh(t, a.url(), "", "/v1/connect/intentions/exact?source=serai&destination="+service, map[string]string{"Action": action})
}

// registerMeshed registers an instance whose sidecar listens at an address.
func registerMeshed(t *testing.T, agent, token, id, service, sidecar, local string, tags ...string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(sidecar)
	_, localPort, _ := net.SplitHostPort(local)
	putMesh(t, agent, token, "/v1/agent/service/register", map[string]any{
		"ID": id, "Name": service, "Tags": tags, "Address": "127.0.0.1", "Port": 1, // where nobody listens
		"Connect": map[string]any{"SidecarService": map[string]any{
			"Address": "127.0.0.1", "Port": json.Number(port), "Checks": []map[string]any{{"Name": "alias", "AliasService": id}},
			"Proxy": map[string]any{"LocalServicePort": json.Number(localPort)},
		}},
	})
}

// meshed registers an instance behind a sidecar, and runs both.
func meshed(t *testing.T, a meshAgent, id, service, local string, tags ...string) {
	t.Helper()
	sidecar := testnet.Address(t)
	registerMeshed(t, a.url(), "", id, service, sidecar, local, tags...)
	a.sidecar(t, id, service, sidecar, local)
}

// meshServe runs serai with an agent, and returns its addresses.
func meshServe(t *testing.T, agent, token string, more ...string) (p *process, traffic, admin string) {
	t.Helper()
	traffic, admin = testnet.Address(t), testnet.Address(t)
	args := append([]string{"serve", "--no-nomad", "--consul=" + agent, "--http=" + traffic, "--admin=" + admin, "--drain-delay=0s"}, more...)
	p = start(t, map[string]string{"CONSUL_HTTP_TOKEN": token}, args...)
	until(t, "the first table", func() bool { status, _ := get(traffic, "127.0.0.1", "/.serai/ready"); return status == 200 })
	return p, traffic, admin
}

func mustListen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// answered makes a request and returns the status and the body.
func answered(traffic, host string) string {
	status, body := get(traffic, host, "/")
	return fmt.Sprint(status, " ", body)
}

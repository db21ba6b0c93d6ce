// Package consulagent runs real Consul agents on loopback, for tests.
package consulagent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serai/internal/testnet"
)

// Config says what an agent is. The zero Config is one in development mode, a server of
// its own without ACLs, whose state ends with it.
type Config struct {
	// Node and NodeID are its name and ID: "node1", and one of its own.
	Node, NodeID string
	// Token enables ACLs, with the default policy "deny", and is the management token.
	Token string
	// Servers, unless 0, makes it one of so many servers, which keeps its state.
	Servers int
	// Join are the Serf addresses of others.
	Join []string
	// More is merged into the configuration file.
	More map[string]any
}

// Agent is a real agent.
type Agent struct {
	URL string
	// Serf is where others join, and Server is its port for other agents.
	Serf   string
	Server int

	config Config
	bin    string
	dir    string
	log    output
	cmd    *exec.Cmd
	client *http.Client
}

// waiting bounds the wait for a start; it asserts nothing about speed.
const waiting = 2 * time.Minute

// Binary is the path of the agent: CONSUL_BIN, or what PATH has; "" if there is none.
func Binary() string {
	if bin := os.Getenv("CONSUL_BIN"); bin != "" {
		return bin
	}
	bin, err := exec.LookPath("consul")
	if err != nil {
		return ""
	}
	return bin
}

// New prepares an agent, which Start starts. It is killed when the test ends. The test
// is skipped when there is no binary.
func New(t testing.TB, c Config) *Agent {
	t.Helper()
	bin := Binary()
	if bin == "" {
		t.Skip("no real Consul to compare with: put consul on PATH or its path into CONSUL_BIN")
	}
	if c.Node == "" {
		c.Node = "node1"
	}
	ports := testnet.Ports(t, 4)
	a := &Agent{
		URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), Serf: fmt.Sprintf("127.0.0.1:%d", ports[2]), Server: ports[1],
		config: c, bin: bin, dir: t.TempDir(), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if err := os.WriteFile(a.file(), a.settings(ports), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Kill()
		if t.Failed() {
			t.Logf("the Consul agent said:\n%s", a.log.text())
		}
	})
	return a
}

func (a *Agent) file() string { return filepath.Join(a.dir, "agent.json") }

func (a *Agent) settings(ports []int) []byte {
	c := map[string]any{
		"node_name": a.config.Node, "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "log_level": "warn",
		"disable_update_check": true, "retry_join": a.config.Join,
		"ports": map[string]int{
			"http": ports[0], "server": ports[1], "serf_lan": ports[2], "serf_wan": ports[3], "dns": -1, "grpc": -1, "grpc_tls": -1,
		},
	}
	if a.config.NodeID != "" {
		c["node_id"] = a.config.NodeID
	}
	if a.config.Token != "" {
		c["acl"] = map[string]any{
			"enabled": true, "default_policy": "deny",
			"tokens": map[string]string{"initial_management": a.config.Token, "agent": a.config.Token},
		}
	}
	if a.config.Servers > 0 {
		c["server"], c["bootstrap_expect"], c["data_dir"] = true, a.config.Servers, filepath.Join(a.dir, "data")
		// As in development mode: elections within seconds.
		c["performance"] = map[string]int{"raft_multiplier": 1}
		c["connect"] = map[string]bool{"enabled": true}
	}
	for k, v := range a.config.More {
		c[k] = v
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return b
}

// Start starts the agent, again if it was killed, and returns when it answers.
func (a *Agent) Start(t testing.TB) {
	t.Helper()
	args := []string{"agent", "-config-file=" + a.file()}
	if a.config.Servers == 0 {
		args = append(args, "-dev")
	}
	a.cmd = exec.Command(a.bin, args...)
	a.cmd.Dir = a.dir
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	// It must not use settings for another one.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CONSUL_") {
			a.cmd.Env = append(a.cmd.Env, v)
		}
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.await(t, "/v1/status/leader", func(body string) bool { return body != "" })
}

// AwaitLeader waits until there is a leader, and the catalog has this agent.
func (a *Agent) AwaitLeader(t testing.TB) {
	t.Helper()
	a.await(t, "/v1/status/leader", func(body string) bool { return len(body) > len(`""`) })
	// The leader registers the servers and their health, and each agent adds the tagged
	// addresses of its node.
	a.await(t, "/v1/health/service/consul", func(body string) bool {
		return strings.Contains(body, `"`+a.config.Node+`"`) && strings.Contains(body, `"lan_ipv4"`) && strings.Contains(body, `"serfHealth"`)
	})
}

func (a *Agent) await(t testing.TB, path string, ok func(body string) bool) {
	t.Helper()
	seen := ""
	for end := time.Now().Add(waiting); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		status, body, err := a.get(path)
		if err == nil && status == http.StatusOK && ok(body) {
			return
		}
		seen = fmt.Sprint(status, body, err)
	}
	t.Fatalf("the Consul agent answers %s with %s; it said:\n%s", path, seen, a.log.text())
}

func (a *Agent) get(path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("X-Consul-Token", a.config.Token)
	resp, err := a.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Put sends a JSON body with the management token, if there is one.
func (a *Agent) Put(t testing.TB, path string, body any) (status int, answer string) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, a.URL+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Consul-Token", a.config.Token)
	resp, err := a.client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// Kill ends the agent as kill -9 does. It may be started again.
func (a *Agent) Kill() {
	if a.cmd == nil {
		return
	}
	a.cmd.Process.Kill()
	a.cmd.Wait()
	a.cmd = nil
}

// Pause stops the process, without closing any connection, or lets it run again.
func (a *Agent) Pause(paused bool) {
	if paused {
		a.cmd.Process.Signal(syscall.SIGSTOP)
	} else {
		a.cmd.Process.Signal(syscall.SIGCONT)
	}
}

// output is what a process has written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Package nomadtest runs agents for the tests of other packages: simulated ones
// and, where there is a binary, real ones.
package nomadtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"serai/internal/nomadagent"
	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// Simulator runs a simulated agent with services until it is stopped, or the
// test ends, and returns its address.
func Simulator(t testing.TB, services ...nomad.Registration) (sim *nomadsim.Sim, url string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sim = nomadsim.New(nomadsim.Options{})
	for _, s := range services {
		sim.Register(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	return sim, "http://" + l.Addr().String(), stop
}

// Binary is the path of the real agent, from NOMAD_BIN; empty when there is none.
func Binary() string { return os.Getenv("NOMAD_BIN") }

// Server runs a real Nomad server, without a client and without ACLs, until the test
// ends, and returns its address. The test is skipped if there is no binary.
func Server(t testing.TB) (url string) {
	t.Helper()
	if Binary() == "" {
		t.Skip("no real agent: put the path of a nomad binary into NOMAD_BIN")
	}
	dir := t.TempDir()
	ports := testnet.Ports(t, 3)
	config := nomadagent.Config{
		Name: "server", DataDir: dir, IP: "127.0.0.1",
		HTTP: strconv.Itoa(ports[0]), RPC: strconv.Itoa(ports[1]), Serf: strconv.Itoa(ports[2]),
	}.HCL() + "server {\n  enabled = true\n  bootstrap_expect = 1\n}\n"
	file := filepath.Join(dir, "agent.hcl")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var output log
	cmd := exec.Command(Binary(), "agent", "-config="+file)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("the agent said:\n%s", output.text())
		}
	})
	url = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	// It accepts variables once its keyring is ready.
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := client.PutVariable(ctx, nomad.Variable{VariableMeta: nomad.VariableMeta{Path: "test"}, Items: map[string]string{"k": "v"}})
		cancel()
		if err == nil {
			return url
		}
		if time.Now().After(end) {
			t.Fatalf("the agent takes no variable: %v", err)
		}
	}
}

// log is the output of a process.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

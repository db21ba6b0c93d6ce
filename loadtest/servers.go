package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// servers is a Nomad of our own on the loopback, with ACLs: three servers that
// can be stopped and started, and a client that runs raw_exec.
type servers struct {
	agent   *agent // the client's API, with a token of management
	dir     string
	servers []*nomadAgent
	client  *nomadAgent
	token   struct{ AccessorID, SecretID string } // serai's, in nomad_token
}

// nomadAgent is a process.
type nomadAgent struct {
	binary, config, log string
	http                string // host:port
	cmd                 *exec.Cmd
}

// The capabilities that serai has to have for routes.
const seraiPolicy = `namespace "*" { capabilities = ["read-job"] }`

// startServers runs them, and waits until a job can be run.
func startServers(ctx context.Context, binary, serai string) (*servers, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a Nomad client needs root")
	}
	dir, err := os.MkdirTemp("", "loadtest-nomad")
	if err != nil {
		return nil, err
	}
	s := &servers{dir: dir}
	if err := s.run(ctx, binary, serai); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *servers) run(ctx context.Context, binary, serai string) error {
	var rpc []string
	ports := make([][3]int, 4) // HTTP, RPC, serf
	for i := range ports {
		for j := range ports[i] {
			at, err := freeAddress()
			if err != nil {
				return err
			}
			_, p, _ := net.SplitHostPort(at)
			fmt.Sscan(p, &ports[i][j])
		}
		if i < 3 {
			rpc = append(rpc, fmt.Sprintf("127.0.0.1:%d", ports[i][1]))
		}
	}
	serf := fmt.Sprintf("127.0.0.1:%d", ports[0][2])
	for i, p := range ports {
		name := fmt.Sprintf("server-%d", i)
		role := fmt.Sprintf("server {\n  enabled = true\n  bootstrap_expect = 3\n  server_join {\n    retry_join = [%q]\n    retry_interval = \"1s\"\n  }\n}\n", serf)
		if i == 3 {
			name = "client"
			role = fmt.Sprintf(`client {
  enabled           = true
  servers           = ["%s"]
  network_interface = "lo"
  options {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
`, strings.Join(rpc, `", "`))
		}
		text := fmt.Sprintf(`name = %q
data_dir = %q
bind_addr = "127.0.0.1"
disable_update_check = true
log_level = "WARN"
advertise {
  http = "127.0.0.1"
  rpc = "127.0.0.1"
  serf = "127.0.0.1"
}
ports {
  http = %d
  rpc = %d
  serf = %d
}
acl {
  enabled = true
}
`, name, filepath.Join(s.dir, name), p[0], p[1], p[2]) + role
		a := &nomadAgent{
			binary: binary, config: filepath.Join(s.dir, name+".hcl"), log: filepath.Join(s.dir, name+".log"),
			http: fmt.Sprintf("127.0.0.1:%d", p[0]),
		}
		if err := os.WriteFile(a.config, []byte(text), 0o600); err != nil {
			return err
		}
		if err := a.start(); err != nil {
			return err
		}
		if i == 3 {
			s.client = a
		} else {
			s.servers = append(s.servers, a)
		}
	}
	s.agent = &agent{address: "http://" + s.client.http, binary: serai}
	var management struct{ SecretID string }
	if err := eventually(ctx, "ACLs", func() error {
		return s.agent.call(ctx, http.MethodPut, "/v1/acl/bootstrap", struct{}{}, &management)
	}); err != nil {
		return err
	}
	s.agent.token = management.SecretID
	if err := s.agent.do(ctx, http.MethodPut, "/v1/acl/policy/serai", map[string]string{"Name": "serai", "Rules": seraiPolicy}); err != nil {
		return err
	}
	if err := s.writeToken(ctx); err != nil {
		return err
	}
	return eventually(ctx, "a node that is ready", func() error {
		var nodes []struct{ Status string }
		if err := s.agent.get(ctx, "/v1/nodes", &nodes); err != nil {
			return err
		}
		if len(nodes) != 1 || nodes[0].Status != "ready" {
			return fmt.Errorf("the nodes are %v", nodes)
		}
		return nil
	})
}

// eventually repeats what fails, for a while.
func eventually(ctx context.Context, what string, try func() error) (err error) {
	for end := time.Now().Add(jobPatience); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		if err = try(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("waited in vain for %s: %w", what, errors.Join(err, ctx.Err()))
}

// writeToken makes a token for serai and puts it where Nomad puts an identity.
func (s *servers) writeToken(ctx context.Context) error {
	body := map[string]any{"Name": "serai", "Type": "client", "Policies": []string{"serai"}}
	if err := s.agent.call(ctx, http.MethodPut, "/v1/acl/token", body, &s.token); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "nomad_token"), []byte(s.token.SecretID), 0o600)
}

func (s *servers) deleteToken(ctx context.Context) error {
	return s.agent.do(ctx, http.MethodDelete, "/v1/acl/token/"+s.token.AccessorID, nil)
}

// killLeader kills the server that leads, and returns it.
func (s *servers) killLeader(ctx context.Context) (*nomadAgent, error) {
	var peers struct {
		Servers []struct {
			Node   string
			Leader bool
		}
	}
	if err := s.agent.get(ctx, "/v1/operator/raft/configuration", &peers); err != nil {
		return nil, err
	}
	for _, p := range peers.Servers {
		for i, a := range s.servers {
			if p.Leader && strings.HasPrefix(p.Node, fmt.Sprintf("server-%d.", i)) {
				a.kill()
				return a, nil
			}
		}
	}
	return nil, fmt.Errorf("nobody leads: %+v", peers)
}

// awaitLeader waits until the servers can decide something.
func (s *servers) awaitLeader(ctx context.Context) error {
	return eventually(ctx, "a leader", func() error {
		return s.agent.do(ctx, http.MethodPut, "/v1/acl/policy/serai", map[string]string{"Name": "serai", "Rules": seraiPolicy})
	})
}

// end stops everything. Tasks would outlive the client: they are waited for.
func (s *servers) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if s.agent != nil && s.agent.token != "" {
		eventually(ctx, "the end of all tasks", func() error {
			var allocs []struct{ ClientStatus string }
			if err := s.agent.get(ctx, "/v1/allocations", &allocs); err != nil {
				return err
			}
			for _, a := range allocs {
				if a.ClientStatus == "running" {
					return errors.New("one is running")
				}
			}
			return nil
		})
	}
	if s.client != nil {
		s.client.stop()
	}
	for _, a := range s.servers {
		a.stop()
	}
	s.killTasks()
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], s.dir+"/") {
			exec.Command("umount", f[1]).Run()
		}
	}
	os.RemoveAll(s.dir)
}

// killTasks ends what has outlived the client all the same: its executors, and
// the tasks below them.
func (s *servers) killTasks() {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || !strings.Contains(string(text), s.dir+"/client/") {
			continue
		}
		for _, p := range family(pid) {
			syscall.Kill(p, syscall.SIGKILL)
		}
	}
}

func (a *nomadAgent) start() error {
	log, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	a.cmd = exec.Command(a.binary, "agent", "-config="+a.config)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	// Our own interrupt is not theirs.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return a.cmd.Start()
}

func (a *nomadAgent) kill() { a.endWith(os.Kill) }
func (a *nomadAgent) stop() { a.endWith(os.Interrupt) }

func (a *nomadAgent) endWith(signal os.Signal) {
	if a.cmd == nil || a.cmd.Process == nil {
		return
	}
	a.cmd.Process.Signal(signal)
	slow := time.AfterFunc(20*time.Second, func() { a.cmd.Process.Kill() })
	a.cmd.Wait()
	slow.Stop()
	a.cmd = nil
}

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
	"slices"
	"strings"
	"time"

	"serai/internal/netns"
)

// servers is a Nomad of our own, with ACLs: three servers that can be stopped and
// started, and clients that run raw_exec. All are on the loopback, or the clients are
// nodes with networks of their own, which can be cut.
type servers struct {
	agent   *agent // the API, with a token of management
	dir     string
	network *netns.Network // nil for the loopback
	servers []*nomadAgent
	clients []*nomadAgent
	token   struct{ AccessorID, SecretID string } // serai's, in nomad_token
}

// nodeCount is how many clients there are where they have networks of their own.
const nodeCount = 3

// What serai may do, as jobs/serai.policy.hcl says it.
const seraiPolicy = `
namespace "*" {
  capabilities = ["read-job"]
}
namespace "default" {
  capabilities = ["read-job"]
  variables {
    path "serai/*" { capabilities = ["read", "list", "write", "destroy"] }
  }
}
`

// startServers runs them, and waits until a job can be run. Without a network
// there is one client, on the loopback as they are.
func startServers(ctx context.Context, binary, serai string, n *netns.Network) (*servers, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a Nomad client needs root")
	}
	dir, err := os.MkdirTemp("", "loadtest-nomad")
	if err != nil {
		return nil, err
	}
	s := &servers{dir: dir, network: n}
	if err := s.run(ctx, binary, serai); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *servers) run(ctx context.Context, binary, serai string) error {
	if err := s.runServers(binary); err != nil {
		return err
	}
	if err := s.runClients(binary); err != nil {
		return err
	}
	// Servers may be stopped, and nodes cut off: ask who stays.
	stays := s.clients[0]
	if s.network != nil {
		stays = s.servers[0]
	}
	s.agent = &agent{address: "http://" + stays.http, binary: serai}
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
	return eventually(ctx, "nodes that are ready", func() error {
		nodes, err := s.nodes(ctx)
		if err != nil {
			return err
		}
		for _, c := range s.clients {
			if nodes[c.name].Status != "ready" {
				return fmt.Errorf("the nodes are %v", nodes)
			}
		}
		return nil
	})
}

// runServers starts the servers.
func (s *servers) runServers(binary string) error {
	ip, heartbeats := "127.0.0.1", ""
	if s.network != nil {
		// Half of Nomad's defaults, so that a node is given up soon: a cut shall
		// be seen before and after.
		ip, heartbeats = s.network.Host, "  min_heartbeat_ttl = \"5s\"\n  heartbeat_grace = \"5s\"\n"
	}
	for i := range 3 {
		a, err := s.newAgent(fmt.Sprintf("server-%d", i), binary, ip, nil)
		if err != nil {
			return err
		}
		s.servers = append(s.servers, a)
		role := fmt.Sprintf(`server {
  enabled = true
  bootstrap_expect = 3
%s  server_join {
    retry_join = [%q]
    retry_interval = "1s"
  }
}
`, heartbeats, s.servers[0].serf)
		if err := a.configure(s.dir, role); err != nil {
			return err
		}
		if err := a.start(); err != nil {
			return err
		}
	}
	return nil
}

// runClients starts the clients.
func (s *servers) runClients(binary string) error {
	count, ip, device := 1, "127.0.0.1", "lo"
	if s.network != nil {
		count, device = nodeCount, netns.Interface
	}
	var rpc []string
	for _, a := range s.servers {
		rpc = append(rpc, a.rpc)
	}
	for i := range count {
		var space *netns.Space
		if s.network != nil {
			var err error
			if space, err = s.network.Add(); err != nil {
				return err
			}
			ip = space.Address
		}
		a, err := s.newAgent(fmt.Sprintf("client-%d", i), binary, ip, space)
		if err != nil {
			return err
		}
		s.clients = append(s.clients, a)
		role := fmt.Sprintf(`client {
  enabled           = true
  servers           = ["%s"]
  network_interface = %q
  options {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
`, strings.Join(rpc, `", "`), device)
		if err := a.configure(s.dir, role); err != nil {
			return err
		}
		if err := a.start(); err != nil {
			return err
		}
	}
	return nil
}

// newAgent finds ports for one.
func (s *servers) newAgent(name, binary, ip string, space *netns.Space) (*nomadAgent, error) {
	a := &nomadAgent{
		name: name, binary: binary, ip: ip, space: space,
		config: filepath.Join(s.dir, name+".hcl"), log: filepath.Join(s.dir, name+".log"),
	}
	for _, at := range []*string{&a.http, &a.rpc, &a.serf} {
		// Free on the loopback is free on the bridge, where nobody else is.
		free, err := freeAddress()
		if err != nil {
			return nil, err
		}
		*at = net.JoinHostPort(ip, portOf(free))
	}
	return a, nil
}

// nomadNode is what Nomad tells of a client.
type nomadNode struct{ ID, Name, Status string }

// nodes returns what Nomad tells of its clients, by name.
func (s *servers) nodes(ctx context.Context) (map[string]nomadNode, error) {
	var list []nomadNode
	if err := s.agent.get(ctx, "/v1/nodes", &list); err != nil {
		return nil, err
	}
	nodes := make(map[string]nomadNode)
	for _, n := range list {
		nodes[n.Name] = n
	}
	return nodes, nil
}

// eventually repeats what fails, for a while.
func eventually(ctx context.Context, what string, try func() error) (err error) {
	for end := time.Now().Add(jobTimeout); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
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

// end stops everything. Tasks would outlive the clients: it waits for them, and kills
// those that do not end.
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
	for _, a := range slices.Concat(s.clients, s.servers) {
		a.stop()
		a.left.End()
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], s.dir+"/") {
			exec.Command("umount", f[1]).Run()
		}
	}
	os.RemoveAll(s.dir)
}

package jobs_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"serai/internal/consulagent"
	"serai/internal/testnet"
)

// managementToken is Consul's in these tests.
const managementToken = "0e7c0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d55"

// consulAccess is how a cluster and its Consul are set up.
type consulAccess struct {
	acl        bool // Consul denies by default
	identities bool // Nomad logs services and tasks in at Consul
}

// newClusterInConsul is newCluster whose agents register services in a real Consul.
func newClusterInConsul(t *testing.T, access consulAccess) (*cluster, *consulagent.Agent) {
	needNomad(t)
	var config consulagent.Config
	if access.acl {
		config.Token = managementToken
	}
	a := consulagent.New(t, config)
	a.Start(t)
	a.AwaitLeader(t)
	block := fmt.Sprintf("  address = %q\n", strings.TrimPrefix(a.URL, "http://"))
	if access.acl {
		block += fmt.Sprintf("  token = %q\n", managementToken)
	}
	if access.identities {
		for _, kind := range []string{"service", "task"} {
			block += fmt.Sprintf("  %s_identity {\n    aud = [\"consul.io\"]\n    ttl = \"1h\"\n  }\n", kind)
		}
	}
	c := &cluster{t: t, nomad: findNomad(), consul: "consul {\n" + block + "}\n"}
	c.begin(false, 0)
	if access.identities {
		c.setupConsul(a)
	}
	return c, a
}

// setupConsul has Consul believe Nomad's identities, as its operator does.
func (c *cluster) setupConsul(a *consulagent.Agent) {
	c.t.Helper()
	cmd := exec.Command(c.nomad, "setup", "consul", "-y", "-jwks-url", c.address+"/.well-known/jwks.json")
	cmd.Env = append(os.Environ(), "NOMAD_ADDR="+c.address, "CONSUL_HTTP_ADDR="+a.URL, "CONSUL_HTTP_TOKEN="+managementToken)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("nomad setup consul: %v\n%s", err, out)
	}
}

// jobInConsul runs a job file with its services in Consul.
func (c *cluster) jobInConsul(name string, vars ...string) {
	c.t.Helper()
	text, err := os.ReadFile(name + ".nomad.hcl")
	if err != nil {
		c.t.Fatal(err)
	}
	inConsul := inDialectOfConsul(string(text))
	path := c.path(name + ".nomad.hcl")
	if err := os.WriteFile(path, []byte(inConsul), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.jobOf(path, inConsul, vars...)
}

// TestOnRealConsul runs the examples on a real Nomad that registers them in a real Consul, and
// reaches each through serai's own job with Consul: with a Consul that has no ACLs, and with
// one that denies by default, where serai's token is that of its task's identity.
func TestOnRealConsul(t *testing.T) {
	for name, access := range map[string]consulAccess{"open": {}, "ACLs": {acl: true, identities: true}} {
		t.Run(name, func(t *testing.T) {
			c, a := newClusterInConsul(t, access)
			config, err := filepath.Abs("serai.config.hcl")
			if err != nil {
				t.Fatal(err)
			}
			c.serai("consul", testnet.Ports(t, 2), "consul="+a.URL, fmt.Sprintf("args=[%q, %q]", "--config="+config, "--default-host={service}.example.org"))
			t.Run("examples", func(t *testing.T) {
				c.t = t
				c.examplesInConsul()
			})
			t.Run("deploys", func(t *testing.T) {
				c.t = t
				c.scales()
				c.promotes(c.jobInConsul)
			})
			t.Run("consul is killed and begins with nothing", func(t *testing.T) {
				c.t = t
				c.underLoad("dynamic.example.org", func() {
					a.Kill()
					c.until("staleness at /ready", func() bool { return strings.Contains(c.ready(), "consul: stale since") })
					a.Start(t)
					c.until("an answer of Consul", func() bool {
						return !strings.Contains(c.ready(), "consul: stale since") || strings.Contains(c.ready(), "403")
					})
				})
			})
		})
	}
}

// examplesInConsul runs them and reaches each.
func (c *cluster) examplesInConsul() {
	c.job("consul")
	c.examples(c.jobInConsul)
	c.reachesFront("consul.example.org")
	for _, alloc := range c.allocations("serai") {
		if log := c.run("alloc", "logs", "-stderr", alloc.ID); !strings.Contains(log, "consul lets serai read all services") {
			c.t.Errorf("serai does not say that Consul lets it read all services:\n%s", log)
		}
	}
}

// TestConsulTokenInAVariable runs serai's job with Consul where its token is in a variable, as
// it is where Nomad has no identities for Consul.
func TestConsulTokenInAVariable(t *testing.T) {
	c, a := newClusterInConsul(t, consulAccess{acl: true})
	policy, err := os.ReadFile("serai.consul.policy.hcl")
	if err != nil {
		t.Fatal(err)
	}
	const secret = "5a3e0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d56"
	c.putConsul(a, "/v1/acl/policy", map[string]any{"Name": "serai", "Rules": string(policy)})
	c.putConsul(a, "/v1/acl/token", map[string]any{"SecretID": secret, "Policies": []map[string]string{{"Name": "serai"}}})
	if out := c.run("var", "put", "nomad/jobs/serai/serai", "token="+secret); strings.Contains(out, "Error") {
		t.Fatal(out)
	}
	c.serai("consul", testnet.Ports(t, 2), "consul="+a.URL, "token_variable=nomad/jobs/serai/serai")
	c.jobInConsul("host-dynamic")
	c.reaches("dynamic.example.org", "/", "web")
}

// putConsul changes Consul with the management token.
func (c *cluster) putConsul(a *consulagent.Agent, path string, body any) {
	c.t.Helper()
	status, answer := a.Put(c.t, path, body)
	if status != http.StatusOK {
		c.t.Fatalf("PUT %s: %d %s", path, status, answer)
	}
}

package consulsim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"serai/consul/consulsim"
	"serai/internal/consulagent"
)

// realCluster is an agent of Consul in development mode.
type realCluster struct {
	agent *consulagent.Agent
	root  string
}

const nodeID = "11111111-1111-1111-1111-111111111111"

func newRealCluster(t *testing.T, token string) *realCluster {
	t.Helper()
	if testing.Short() {
		t.Skip("a real agent takes seconds for each part: not with -short")
	}
	c := &realCluster{consulagent.New(t, consulagent.Config{NodeID: nodeID, Token: token}), token}
	c.restart(t)
	return c
}

func (c *realCluster) address() string    { return c.agent.URL }
func (c *realCluster) management() string { return c.root }
func (c *realCluster) serverPort() int    { return c.agent.Server }
func (c *realCluster) sync()              {}

// putToken makes a policy and a token of the same name, or changes the policy.
func (c *realCluster) putToken(t *testing.T, token consulsim.Token) {
	t.Helper()
	api := callerOf(t, c, c.root)
	var rules strings.Builder
	for _, r := range token.Rules {
		fmt.Fprintf(&rules, "%s %q { policy = %q }\n", r.Resource, r.Name, r.Policy)
	}
	name := "policy-" + token.Accessor
	policy := fmt.Sprintf(`{"Name": %q, "Rules": %q}`, name, rules.String())
	if a := api.do(t, "GET", "/v1/acl/policy/name/"+name, ""); a.status == 200 {
		id := strings.SplitN(strings.SplitN(a.body, `"ID":"`, 2)[1], `"`, 2)[0]
		api.put(t, "/v1/acl/policy/"+id, fmt.Sprintf(`{"ID": %q, "Name": %q, "Rules": %q}`, id, name, rules.String()))
		return
	}
	api.put(t, "/v1/acl/policy", policy)
	api.put(t, "/v1/acl/token", fmt.Sprintf(`{"SecretID": %q, "AccessorID": %q, "Policies": [{"Name": %q}]}`, token.Secret, token.Accessor, name))
}

func (c *realCluster) deleteToken(t *testing.T, token consulsim.Token) {
	t.Helper()
	callerOf(t, c, c.root).must(t, "DELETE", "/v1/acl/token/"+token.Accessor, "")
}

// restart begins anew. Usually the leader registers the agent's node, its service and its
// check in one write before the agent adds to the node; where it was another way, which the
// indexes show, it is tried again.
func (c *realCluster) restart(t *testing.T) {
	t.Helper()
	type indexes struct{ CreateIndex, ModifyIndex uint64 }
	for {
		c.agent.Kill()
		c.agent.Start(t)
		c.agent.AwaitLeader(t)
		var all []struct {
			Node, Service indexes
			Checks        []indexes
		}
		a := callerOf(t, c, c.root).get(t, "/v1/health/service/consul")
		if err := json.Unmarshal([]byte(a.body), &all); err != nil {
			t.Fatal(err)
		}
		if len(all) != 1 || len(all[0].Checks) != 1 {
			continue
		}
		node, first := all[0].Node, indexes{all[0].Node.CreateIndex, all[0].Node.CreateIndex}
		if node.ModifyIndex > first.ModifyIndex && all[0].Service == first && all[0].Checks[0] == first {
			return
		}
	}
}

func (c *realCluster) save(t *testing.T) (restore func()) {
	api := callerOf(t, c, c.root)
	snapshot := api.get(t, "/v1/snapshot").body
	return func() { api.put(t, "/v1/snapshot", snapshot) }
}

func TestRealAgentKeepsTheContract(t *testing.T) {
	contract(t, func(t *testing.T) cluster { return newRealCluster(t, "") })
}

func TestGuardedRealAgentKeepsTheContract(t *testing.T) {
	guardedContract(t, func(t *testing.T) cluster { return newRealCluster(t, root) })
}

// realServers is one of three servers.
type realServers struct {
	*realCluster
	others []*consulagent.Agent
}

func newRealServers(t *testing.T) *realServers {
	t.Helper()
	if testing.Short() {
		t.Skip("real servers take seconds: not with -short")
	}
	first := consulagent.New(t, consulagent.Config{NodeID: nodeID, Servers: 3})
	s := &realServers{realCluster: &realCluster{agent: first}}
	for i := range 2 {
		s.others = append(s.others, consulagent.New(t, consulagent.Config{Node: fmt.Sprintf("other%d", i), Servers: 3, Join: []string{first.Serf}}))
	}
	first.Start(t)
	for _, a := range s.others {
		a.Start(t)
	}
	first.AwaitLeader(t)
	return s
}

func (s *realServers) setLeader(t *testing.T, known bool) {
	t.Helper()
	for _, a := range s.others {
		if known {
			a.Start(t)
		} else {
			a.Kill()
		}
	}
}

func TestRealServersLoseTheirLeader(t *testing.T) {
	t.Run("lost and found", func(t *testing.T) { contractLeader(t, newRealServers(t)) })
	t.Run("waiting", func(t *testing.T) { contractLeaderWait(t, newRealServers(t)) })
}

package nomadsim_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// start runs s on a loopback address until ctx ends, and then reports how it ended.
func start(t *testing.T, ctx context.Context, s *nomadsim.Sim) (url string, done <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	return "http://" + l.Addr().String(), ended
}

// serve runs s on a loopback address until the test ends.
func serve(t *testing.T, s *nomadsim.Sim) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	url, done := start(t, ctx, s)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return url
}

// simCluster is the simulator as an agent under test.
type simCluster struct {
	options nomadsim.Options
	sim     *nomadsim.Sim
	url     string
	root    string

	mu      sync.Mutex
	next    int
	skipped time.Duration
}

const simRoot = "11111111-2222-3333-4444-555555555555"

func newSimCluster(t *testing.T, o nomadsim.Options) *simCluster {
	c := &simCluster{options: o, sim: nomadsim.New(o)}
	c.url = serve(t, c.sim)
	if o.ACL {
		c.root = simRoot
		c.sim.PutToken(nomadsim.Token{Secret: simRoot, Management: true})
	}
	return c
}

func (c *simCluster) address() string                           { return c.url }
func (c *simCluster) management() string                        { return c.root }
func (c *simCluster) lockTTL() time.Duration                    { return 5 * time.Minute }
func (c *simCluster) createNamespace(_ *testing.T, name string) { c.sim.CreateNamespace(name) }

func (c *simCluster) alone(t *testing.T) cluster { return newSimCluster(t, c.options) }

func (c *simCluster) pass(_ *testing.T, d time.Duration) {
	c.sim.Advance(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipped += d
}

func (c *simCluster) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skipped)
}

func (c *simCluster) registration(a app, i int, tags []string) nomad.Registration {
	return nomad.Registration{Namespace: a.namespace, ServiceName: a.name, AllocID: fmt.Sprintf("alloc-%s-%s-%d", a.namespace, a.name, i),
		Address: "127.0.0.1", Port: 20000 + i, Tags: tags}
}

func (c *simCluster) deploy(_ *testing.T, a app) {
	c.sim.PutJob(c.job(a))
	if a.canaryTags != nil {
		c.sim.Register(c.registration(a, a.count, a.canaryTags))
		return
	}
	for i := range a.count {
		c.sim.Register(c.registration(a, i, a.tags))
	}
}

func (c *simCluster) job(a app) nomadsim.Job {
	return nomadsim.Job{Namespace: a.namespace, ID: a.name, Groups: []nomadsim.Group{{
		Name: "group", Count: a.count, Tasks: []nomadsim.JobTask{{Name: "sleep", KillTimeout: time.Second}},
		Services: []nomad.JobService{{Name: a.name, Tags: a.tags, CanaryTags: a.canaryTags}},
	}}}
}

func (c *simCluster) promote(_ *testing.T, a app) {
	c.sim.Register(c.registration(a, a.count, a.tags))
	for i := range a.count {
		c.sim.StopAlloc(c.registration(a, i, nil).AllocID)
	}
}

func (c *simCluster) stop(_ *testing.T, a app) {
	c.sim.PurgeJob(a.namespace, a.name)
	c.deregister(a)
}

func (c *simCluster) halt(_ *testing.T, a app) {
	j := c.job(a)
	j.Stopped = true
	c.sim.PutJob(j)
	c.deregister(a)
}

func (c *simCluster) deregister(a app) {
	c.sim.DeregisterAll(func(r nomad.Registration) bool { return r.Namespace == a.namespace && r.ServiceName == a.name })
}

func (c *simCluster) token(_ *testing.T, rules ...rule) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	t := nomadsim.Token{Secret: fmt.Sprintf("token-%d", c.next)}
	t.Rules = simRules(rules)
	c.sim.PutToken(t)
	return t.Secret
}

func (c *simCluster) deleteToken(_ *testing.T, secret string) { c.sim.DeleteToken(secret) }

func simRules(rules []rule) (all []nomadsim.Rule) {
	for _, r := range rules {
		all = append(all, nomadsim.Rule{Namespace: r.namespace, Capabilities: r.capabilities, Variables: r.variables})
	}
	return all
}

func (c *simCluster) workload(t *testing.T, namespace string) string {
	c.revoke(t, namespace)
	return "a.b." + namespace
}

func (c *simCluster) grant(_ *testing.T, namespace string, rules ...rule) {
	c.sim.PutToken(nomadsim.Token{Secret: "a.b." + namespace, Workload: true, Namespace: namespace, Job: "worker", Rules: simRules(rules)})
}

func (c *simCluster) revoke(t *testing.T, namespace string) { c.grant(t, namespace) }
func (c *simCluster) outage() time.Duration                 { return 2 * time.Second }

func TestSimulatorKeepsTheContract(t *testing.T) {
	for name, o := range map[string]nomadsim.Options{
		"as shipped":    {},
		"commits later": {CommitDelay: 30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) { contract(t, newSimCluster(t, o)) })
	}
}

func TestGuardedSimulatorKeepsTheContract(t *testing.T) {
	for name, o := range map[string]nomadsim.Options{
		"refuses by ending": {ACL: true},
		"refuses with 403":  {ACL: true, Refusal: nomadsim.RefusalForbidden},
	} {
		t.Run(name, func(t *testing.T) { guardedContract(t, newSimCluster(t, o)) })
	}
}

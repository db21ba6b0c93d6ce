package nomadsim_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"serai/internal/nomadagent"
	"serai/internal/testnet"
	"serai/nomad"
)

// realCluster is a Nomad development agent that the test starts, with jobs
// that sleep.
type realCluster struct {
	url  string
	dir  string
	api  *api.Client
	root string

	mu        sync.Mutex
	accessors map[string]string // by secret
	next      int
}

// findNomad returns a nomad executable or skips the test.
func findNomad(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real agent takes a minute: not with -short")
	}
	if bin := os.Getenv("NOMAD_BIN"); bin != "" {
		return bin
	}
	bin, err := exec.LookPath("nomad")
	if err != nil {
		t.Skip("no real agent to compare with: put nomad on PATH or its path into NOMAD_BIN")
	}
	return bin
}

// newRealCluster starts an agent and stops it, and its jobs, when the test
// ends.
func newRealCluster(t *testing.T, acl bool) *realCluster {
	bin := findNomad(t)
	// The Task API's socket is below the directory and a socket's path must be short:
	// t.TempDir would be too long.
	dir, err := os.MkdirTemp("", "serai")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ports := testnet.Ports(t, 3)
	config := filepath.Join(dir, "agent.hcl")
	err = os.WriteFile(config, fmt.Appendf(nil, `
bind_addr            = "127.0.0.1"
data_dir             = %q
disable_update_check = true
log_level            = "WARN"
ports {
  http = %d
  rpc  = %d
  serf = %d
}
acl {
  enabled = %v
}
client {
  options {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
`, filepath.Join(dir, "data"), ports[0], ports[1], ports[2], acl), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	cmd := exec.Command(bin, "agent", "-dev", "-config="+config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = dir
	// The agent must not use settings for another one.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NOMAD_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()

	c := &realCluster{url: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), dir: dir, accessors: map[string]string{}}
	tr := &http.Transport{}
	t.Cleanup(func() {
		c.stopEverything(t)
		tr.CloseIdleConnections()
		var left nomadagent.Processes
		left.Note(cmd.Process.Pid)
		defer left.End()
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-exited:
		case <-time.After(testTimeout):
			cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("the agent's log:\n%s", log)
		}
	})
	c.api, err = api.NewClient(&api.Config{Address: c.url, HttpClient: &http.Client{Transport: tr}})
	if err != nil {
		t.Fatal(err)
	}
	if acl {
		eventually(t, "bootstrap of ACLs", func() (bool, any) {
			token, _, err := c.api.ACLTokens().Bootstrap(nil)
			if err == nil {
				c.root = token.SecretID
				c.api.SetSecretID(c.root)
			}
			return err == nil, err
		})
	}
	eventually(t, "a ready node", func() (bool, any) {
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("the agent ended: %v\n%s", err, log)
		default:
		}
		nodes, _, err := c.api.Nodes().List(nil)
		if err != nil || len(nodes) == 0 || nodes[0].Status != "ready" {
			return false, err
		}
		node, _, err := c.api.Nodes().Info(nodes[0].ID, nil)
		return err == nil && node.Drivers["raw_exec"] != nil && node.Drivers["raw_exec"].Healthy, err
	})
	return c
}

// stopEverything stops all jobs, because raw_exec tasks outlive an agent.
func (c *realCluster) stopEverything(t *testing.T) {
	if c.api == nil {
		return
	}
	jobs, _, err := c.api.Jobs().List(&api.QueryOptions{Namespace: "*"})
	if err != nil {
		t.Logf("list jobs: %v", err)
		return
	}
	for _, j := range jobs {
		c.api.Jobs().Deregister(j.ID, true, &api.WriteOptions{Namespace: j.Namespace})
	}
	deadline := time.Now().Add(testTimeout)
	for time.Now().Before(deadline) {
		running := 0
		allocs, _, err := c.api.Allocations().List(&api.QueryOptions{Namespace: "*"})
		for _, a := range allocs {
			if a.ClientStatus == "running" || a.ClientStatus == "pending" {
				running++
			}
		}
		if err == nil && running == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Log("allocations still run")
}

func (c *realCluster) address() string          { return c.url }
func (c *realCluster) management() string       { return c.root }
func (c *realCluster) lockTTL() time.Duration   { return minTTL }
func (c *realCluster) alone(*testing.T) cluster { return c }
func (c *realCluster) now() time.Time           { return time.Now() }

// pass sleeps, since a real agent's time cannot be advanced.
func (c *realCluster) pass(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-testContext(t).Done():
	}
}

func (c *realCluster) createNamespace(t *testing.T, name string) {
	t.Helper()
	if _, err := c.api.Namespaces().Register(&api.Namespace{Name: name}, nil); err != nil {
		t.Fatal(err)
	}
}

// job is an app as a job of sleepers.
func (c *realCluster) job(a app) *api.Job {
	task := api.NewTask("sleep", "raw_exec").
		SetConfig("command", "/bin/sleep").
		SetConfig("args", []string{"3600"}).
		Require(&api.Resources{CPU: new(20), MemoryMB: new(10)})
	task.KillTimeout = new(time.Second)
	task.LogConfig = &api.LogConfig{MaxFiles: new(1), MaxFileSizeMB: new(1)}
	group := api.NewTaskGroup("group", a.count).AddTask(task)
	group.EphemeralDisk = &api.EphemeralDisk{SizeMB: new(10)}
	group.Networks = []*api.NetworkResource{{DynamicPorts: []api.Port{{Label: "http"}}}}
	group.Services = []*api.Service{{Name: a.name, PortLabel: "http", Provider: "nomad", Tags: a.tags, CanaryTags: a.canaryTags}}
	job := api.NewServiceJob(a.name, a.name, "global", 50)
	job.Namespace = &a.namespace
	job.Datacenters = []string{"*"}
	job.AddTaskGroup(group)
	if a.canaryTags != nil {
		// Other arguments make a new version that cannot be an in-place update.
		task.SetConfig("args", []string{"3601"})
		job.Update = &api.UpdateStrategy{Canary: new(1), MinHealthyTime: new(time.Duration(0)), HealthCheck: new("task_states")}
	}
	return job
}

func (c *realCluster) deploy(t *testing.T, a app) {
	t.Helper()
	if _, _, err := c.api.Jobs().Register(c.job(a), &api.WriteOptions{Namespace: a.namespace}); err != nil {
		t.Fatal(err)
	}
}

func (c *realCluster) promote(t *testing.T, a app) {
	t.Helper()
	q := &api.QueryOptions{Namespace: a.namespace}
	eventually(t, "promotion", func() (bool, any) {
		d, _, err := c.api.Jobs().LatestDeployment(a.name, q)
		if err != nil || d == nil {
			return false, err
		}
		_, _, err = c.api.Deployments().PromoteAll(d.ID, &api.WriteOptions{Namespace: a.namespace})
		return err == nil, err
	})
}

func (c *realCluster) halt(t *testing.T, a app) {
	t.Helper()
	if _, _, err := c.api.Jobs().Deregister(a.name, false, &api.WriteOptions{Namespace: a.namespace}); err != nil {
		t.Fatal(err)
	}
}

func (c *realCluster) stop(t *testing.T, a app) {
	t.Helper()
	if _, _, err := c.api.Jobs().Deregister(a.name, true, &api.WriteOptions{Namespace: a.namespace}); err != nil {
		t.Fatal(err)
	}
}

// hclOf writes a policy.
func hclOf(rules []rule) string {
	var hcl strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&hcl, "namespace %q {\n", r.namespace)
		if len(r.capabilities) > 0 {
			fmt.Fprintf(&hcl, "  capabilities = [\"%s\"]\n", strings.Join(r.capabilities, `","`))
		}
		if len(r.variables) > 0 {
			hcl.WriteString("  variables {\n")
			for glob, capabilities := range r.variables {
				fmt.Fprintf(&hcl, "    path %q {\n      capabilities = [\"%s\"]\n    }\n", glob, strings.Join(capabilities, `","`))
			}
			hcl.WriteString("  }\n")
		}
		hcl.WriteString("}\n")
	}
	return hcl.String()
}

func (c *realCluster) token(t *testing.T, rules ...rule) string {
	t.Helper()
	hcl := hclOf(rules)
	c.mu.Lock()
	c.next++
	name := fmt.Sprintf("policy-%d", c.next)
	c.mu.Unlock()
	if _, err := c.api.ACLPolicies().Upsert(&api.ACLPolicy{Name: name, Rules: hcl}, nil); err != nil {
		t.Fatalf("%v: %s", err, hcl)
	}
	token, _, err := c.api.ACLTokens().Create(&api.ACLToken{Name: name, Type: "client", Policies: []string{name}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accessors[token.SecretID] = token.AccessorID
	return token.SecretID
}

func (c *realCluster) deleteToken(t *testing.T, secret string) {
	t.Helper()
	c.mu.Lock()
	accessor := c.accessors[secret]
	c.mu.Unlock()
	if _, err := c.api.ACLTokens().Delete(accessor, nil); err != nil {
		t.Fatal(err)
	}
}

// workloadTask runs a job whose task reports its environment, and returns it.
func (c *realCluster) workloadTask(t *testing.T, namespace string) map[string]string {
	t.Helper()
	out := filepath.Join(c.dir, "env-"+namespace)
	j := c.job(app{namespace: namespace, name: "worker", count: 1})
	task := j.TaskGroups[0].Tasks[0]
	task.Config["command"] = "/bin/sh"
	task.Config["args"] = []string{"-c", fmt.Sprintf("env > %s.tmp && mv %s.tmp %s && exec sleep 3600", out, out, out)}
	task.Identity = &api.WorkloadIdentity{Env: true, File: true}
	if _, _, err := c.api.Jobs().Register(j, &api.WriteOptions{Namespace: namespace}); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	eventually(t, "environment of a task", func() (bool, any) {
		b, err := os.ReadFile(out)
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				env[k] = v
			}
		}
		return err == nil, err
	})
	return env
}

func (c *realCluster) workload(t *testing.T, namespace string) string {
	t.Helper()
	return c.workloadTask(t, namespace)["NOMAD_TOKEN"]
}

func (c *realCluster) grant(t *testing.T, namespace string, rules ...rule) {
	t.Helper()
	policy := &api.ACLPolicy{Name: "job-" + namespace, Rules: hclOf(rules), JobACL: &api.JobACL{Namespace: namespace, JobID: "worker"}}
	if _, err := c.api.ACLPolicies().Upsert(policy, nil); err != nil {
		t.Fatal(err)
	}
}

func (c *realCluster) revoke(t *testing.T, namespace string) {
	t.Helper()
	if _, err := c.api.ACLPolicies().Delete("job-"+namespace, nil); err != nil {
		t.Fatal(err)
	}
}

// outage is SERAI_TEST_OUTAGE, such as 10m, if that is set.
func (c *realCluster) outage() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SERAI_TEST_OUTAGE")); err == nil {
		return d
	}
	return 35 * time.Second
}

func TestRealAgentKeepsTheContract(t *testing.T) {
	c := newRealCluster(t, false)
	t.Run("contract", func(t *testing.T) {
		contract(t, c)
		t.Run("task API", func(t *testing.T) { t.Parallel(); realTaskAPI(t, c) })
	})
}

func TestGuardedRealAgentKeepsTheContract(t *testing.T) {
	c := newRealCluster(t, true)
	t.Run("contract", func(t *testing.T) { guardedContract(t, c) })
}

// realTaskAPI finds the agent like serai in its own task: by the variables that Nomad
// puts into the environment.
func realTaskAPI(t *testing.T, c *realCluster) {
	if runtime.GOOS == "windows" {
		t.Skip("the Task API is a Unix socket")
	}
	c.createNamespace(t, "task-api")
	env := c.workloadTask(t, "task-api")
	o := nomad.OptionsFromEnv(func(k string) string { return env[k] })
	if !strings.HasPrefix(o.Address, "unix://") || !strings.HasSuffix(o.Address, "/api.sock") || !strings.HasSuffix(o.TokenFile, "/nomad_token") {
		t.Fatalf("options from a task's environment: %+v; want the socket and the token file", o)
	}
	cl, err := nomad.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.CloseIdleConnections()
	ctx := testContext(t)
	if _, meta, err := cl.Services(ctx, nomad.Query{Namespace: nomad.AllNamespaces}); err != nil || meta.Index == 0 {
		t.Errorf("list through the socket: %+v, %v", meta, err)
	}
	open(t, ctx, cl, nomad.AllNamespaces, 1).Close()

	o.Token, o.TokenFile = "", ""
	anonymous, err := nomad.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	defer anonymous.CloseIdleConnections()
	_, _, err = anonymous.Services(ctx, nomad.Query{})
	is(t, "list through the socket without a token", err, nomad.ErrTokenRefused)
	if _, err := anonymous.Leader(ctx); !errors.Is(err, nomad.ErrTokenRefused) {
		t.Errorf("leader through the socket without a token: %v", err)
	}
}

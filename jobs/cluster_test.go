package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"serai/hello/echo"
	"serai/internal/netns"
	"serai/internal/nomadagent"
	"serai/internal/testnet"
)

// testTimeout bounds each wait for something that happens by itself.
const testTimeout = time.Minute

// cluster is a real server and real clients that run our job files. They are
// several agents: one that is both may, after a crash, find that its server has not
// read its log yet, believe that it has no allocations, and stop them all.
type cluster struct {
	t       *testing.T // that of the subtest that runs
	nomad   string
	dir     string
	binary  string // a static serai
	token   string // of management, empty without ACLs
	address string // of Nomad's API
	traffic string // of serai
	admin   string
	agents  []*agent
	left    nomadagent.Processes // of agents that have ended
	consul  string               // the block of all agents about Consul, empty for none
	network *netns.Network       // of the nodes; nil for one on the loopback
}

// agent is a running agent.
type agent struct {
	cmd    *exec.Cmd
	exited chan error // gets one error
}

// findNomad returns the nomad executable, empty when there is none.
func findNomad() string {
	if bin := os.Getenv("NOMAD_BIN"); bin != "" {
		return bin
	}
	bin, _ := exec.LookPath("nomad")
	return bin
}

// newCluster builds serai and starts the agents. All of it has ended with the
// test.
func newCluster(t *testing.T, acl bool) *cluster { return newClusterOn(t, acl, 0) }

// newClusterOn does so on nodes with a network of their own each; on one with that
// of this machine when there are none.
func newClusterOn(t *testing.T, acl bool, nodes int) *cluster {
	needNomad(t)
	c := &cluster{t: t, nomad: findNomad()}
	c.begin(acl, nodes)
	return c
}

// needNomad skips where no cluster can be.
func needNomad(t *testing.T) {
	switch {
	case testing.Short():
		t.Skip("a real agent takes minutes: not with -short")
	case findNomad() == "":
		t.Skip("no real agent: put nomad on PATH, or its path into NOMAD_BIN")
	case os.Getuid() != 0:
		t.Skip("a real client needs root")
	}
}

// begin builds serai and starts the agents.
func (c *cluster) begin(acl bool, nodes int) {
	t := c.t
	// Sockets lie below it, whose paths must be short.
	dir, err := os.MkdirTemp("", "serai")
	if err != nil {
		t.Fatal(err)
	}
	c.dir = dir
	t.Cleanup(c.removeDir)
	c.binary = filepath.Join(dir, "dist/serai")
	build := exec.Command("go", "build", "-o", c.binary, "serai/cmd/serai")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build serai: %v\n%s", err, out)
	}
	if nodes > 0 {
		c.makeNetwork(nodes)
	}
	c.writeConfig(acl)
	t.Cleanup(c.removeImages)
	t.Cleanup(func() {
		c.stopAgents(syscall.SIGINT)
		c.left.End()
	})
	c.startAgents()
	t.Cleanup(func() {
		c.t = t
		c.stopJobs()
	})
	if acl {
		c.until("bootstrap of ACLs", func() bool {
			var token struct{ SecretID string }
			json.Unmarshal([]byte(c.run("acl", "bootstrap", "-json")), &token)
			c.token = token.SecretID
			return c.token != ""
		})
	}
	c.until("ready nodes", func() bool {
		var list []struct{ Status string }
		ready := 0
		if c.api("/v1/nodes", &list) != nil {
			return false
		}
		for _, n := range list {
			if n.Status == "ready" {
				ready++
			}
		}
		return ready == max(1, nodes)
	})
}

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

// makeNetwork makes a host for each node, or skips.
func (c *cluster) makeNetwork(nodes int) {
	var err error
	if c.network, err = netns.New("serai-jobs", "10.203.18."); err != nil {
		c.t.Skip(err)
	}
	c.t.Cleanup(c.network.End)
	for range nodes {
		if _, err := c.network.Add(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// writeConfig writes the configuration of all agents.
func (c *cluster) writeConfig(acl bool) {
	server := nomadagent.Config{Name: "server", IP: "127.0.0.1", ACL: acl}
	clients := []nomadagent.Config{{Name: "client", IP: "127.0.0.1", ACL: acl}}
	device := "lo"
	if c.network != nil {
		server.IP, clients, device = c.network.Host, nil, netns.Interface
		for i, s := range c.network.Spaces {
			clients = append(clients, nomadagent.Config{Name: fmt.Sprintf("client-%d", i), IP: s.Address, ACL: acl})
		}
	}
	c.writeAgent(&server, `
server {
  enabled          = true
  bootstrap_expect = 1
}
# A serai that has ended is counted until its waits are over.
limits {
  http_max_conns_per_client = 1000
}
`+c.consul)
	c.address = "http://" + net.JoinHostPort(server.IP, server.HTTP)
	for i := range clients {
		c.writeAgent(&clients[i], fmt.Sprintf(`
client {
  enabled           = true
  servers           = [%q]
  cni_path          = %q
  network_interface = %q
  # What a task has said stays when it has ended, however full the disk is.
  gc_disk_usage_threshold = 99
  options {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }
  # The binary is static: no task of exec needs a copy of the system.
  chroot_env {
    "/etc/passwd" = "/etc/passwd"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
plugin "docker" {
  config {
    infra_image = %q
    gc {
      image = false
    }
  }
}
`, net.JoinHostPort(server.IP, server.RPC), cniPath(), device, c.pauseImage())+c.consul)
	}
}

// writeAgent writes what all agents have, on free ports, and what one is.
func (c *cluster) writeAgent(a *nomadagent.Config, role string) {
	for i, port := range testnet.Ports(c.t, 3) {
		*[]*string{&a.HTTP, &a.RPC, &a.Serf}[i] = strconv.Itoa(port)
	}
	a.DataDir = c.path(a.Name)
	if err := os.WriteFile(c.path(a.Name+".hcl"), []byte(a.HCL()+role), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// cniPath is where the CNI plugins are, as their packages and Nomad's
// documentation have it.
func cniPath() string {
	for _, dir := range []string{"/opt/cni/bin", "/usr/lib/cni"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return ""
}

// image and pauseImage are made by needDocker. The second does nothing but hold
// the network of an allocation.
func (c *cluster) image() string      { return "serai-test:" + filepath.Base(c.dir) }
func (c *cluster) pauseImage() string { return "serai-test-pause:" + filepath.Base(c.dir) }

// needDocker makes the images, or skips.
func (c *cluster) needDocker() {
	if err := exec.Command("docker", "version").Run(); err != nil {
		c.t.Skipf("no Docker to talk to: docker version: %v", err)
	}
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		c.t.Fatal(err)
	}
	pause := string(text) + "\nENTRYPOINT [\"/serai\", \"hello\", \"--addr=127.0.0.1:65535\"]\nCMD []\n"
	for image, dockerfile := range map[string]string{c.image(): string(text), c.pauseImage(): pause} {
		// A context of its own, with nothing else to send.
		context := c.path("context")
		if err := os.MkdirAll(context, 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
			c.t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(context, "dist"), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.Link(c.binary, filepath.Join(context, "dist/serai")); err != nil && !os.IsExist(err) {
			c.t.Fatal(err)
		}
		if out, err := exec.Command("docker", "build", "-t", image, context).CombinedOutput(); err != nil {
			c.t.Fatalf("build the image: %v\n%s", err, out)
		}
	}
}

func (c *cluster) removeImages() {
	exec.Command("docker", "image", "rm", "-f", c.image(), c.pauseImage()).Run()
}

// lowPorts returns n free ports that only root may bind.
func lowPorts(t *testing.T, n int) (ports []int) {
	for port := 1023; len(ports) < n; port-- {
		if port < 512 {
			t.Fatal("no free port below 1024")
		}
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			l.Close()
			ports = append(ports, port)
		}
	}
	return ports
}

// startAgents starts the server, and the clients once the server leads.
func (c *cluster) startAgents() {
	c.t.Helper()
	c.startAgent("server", nil)
	c.until("leader", func() bool {
		var leader string
		return c.api("/v1/status/leader", &leader) == nil && leader != ""
	})
	if c.network == nil {
		c.startAgent("client", nil)
		return
	}
	for i, s := range c.network.Spaces {
		c.startAgent(fmt.Sprintf("client-%d", i), s)
	}
}

// startAgent starts one by its name, in its network if it has one.
func (c *cluster) startAgent(name string, space *netns.Space) {
	c.t.Helper()
	log, err := os.OpenFile(c.path("agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	command := []string{c.nomad, "agent", "-config", c.path(name + ".hcl")}
	if space != nil {
		command = space.Command(command...)
	}
	a := &agent{exec.Command(command[0], command[1:]...), make(chan error, 1)}
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// It must not see what we were told about another one.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NOMAD_") {
			a.cmd.Env = append(a.cmd.Env, v)
		}
	}
	if err := a.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { a.exited <- a.cmd.Wait() }()
	c.agents = append(c.agents, a)
}

// stopAgents sends all agents a signal and waits until they have ended.
func (c *cluster) stopAgents(s syscall.Signal) {
	for _, a := range c.agents {
		c.left.Note(a.cmd.Process.Pid)
		a.cmd.Process.Signal(s)
	}
	for _, a := range c.agents {
		select {
		case <-a.exited:
		case <-time.After(testTimeout):
			a.cmd.Process.Kill()
			<-a.exited
		}
	}
	c.agents = nil
}

// log is the end of what the agents have logged.
func (c *cluster) log() string {
	log, _ := os.ReadFile(c.path("agent.log"))
	return string(log[max(0, len(log)-4000):])
}

// run runs a nomad command and returns all that it prints.
func (c *cluster) run(args ...string) string {
	cmd := exec.Command(c.nomad, args...)
	cmd.Env = append(os.Environ(), "NOMAD_ADDR="+c.address, "NOMAD_TOKEN="+c.token, "NOMAD_CLI_NO_COLOR=1", "NOMAD_CLI_SHOW_HINTS=false")
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// api reads from Nomad's HTTP API.
func (c *cluster) api(path string, into any) error {
	r, err := http.NewRequest("GET", c.address+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("X-Nomad-Token", c.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// job runs a job file, with our binary and image where it asks for them.
func (c *cluster) job(name string, vars ...string) {
	c.t.Helper()
	text, err := os.ReadFile(name + ".nomad.hcl")
	if err != nil {
		c.t.Fatal(err)
	}
	c.jobOf(name+".nomad.hcl", string(text), vars...)
}

// jobOf does so with the file at a path, which has that text.
func (c *cluster) jobOf(path, text string, vars ...string) {
	c.t.Helper()
	for variable, value := range map[string]string{"binary": c.binary, "image": c.image()} {
		if strings.Contains(text, fmt.Sprintf("variable %q", variable)) {
			vars = append([]string{variable + "=" + value}, vars...)
		}
	}
	args := []string{"job", "run", "-detach"}
	if strings.HasPrefix(path, "serai.") {
		args = append(args, "-var-file="+varFile)
	}
	for _, v := range vars {
		args = append(args, "-var", v)
	}
	if out := c.run(append(args, path)...); !strings.Contains(out, "registration successful") {
		c.t.Fatalf("run %s: %s", path, out)
	}
}

// serai runs serai's own system job on two ports for traffic, and waits until
// it is ready.
func (c *cluster) serai(driver string, ports []int, vars ...string) {
	c.t.Helper()
	aside := testnet.Ports(c.t, 2)
	admin := aside[0]
	c.traffic, c.admin = fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", admin)
	vars = append(vars, fmt.Sprintf("http_port=%d", ports[0]), fmt.Sprintf("https_port=%d", ports[1]), fmt.Sprintf("admin_port=%d", admin), fmt.Sprintf("metrics_port=%d", aside[1]))
	c.job("serai."+driver, vars...)
	c.until("ready serai", func() bool { status, _ := c.get("127.0.0.1", "/.serai/ready"); return status == 200 })
}

// allocation is what the API tells of one.
type allocation struct {
	ID, Namespace, JobID, ClientStatus string
	TaskStates                         map[string]struct {
		Failed bool
		Events []struct {
			Type     string
			ExitCode int
		}
	}
}

// allocations returns those of a job, of all jobs when it is empty.
func (c *cluster) allocations(job string) (found []allocation) {
	var all []allocation
	if err := c.api("/v1/allocations?namespace=*", &all); err != nil {
		c.t.Fatal(err)
	}
	for _, a := range all {
		if job == "" || a.JobID == job {
			found = append(found, a)
		}
	}
	return found
}

// stopJobs stops all jobs and waits until their tasks have ended: they would
// outlive the agent.
func (c *cluster) stopJobs() {
	var jobs []struct{ Namespace, ID string }
	if err := c.api("/v1/jobs?namespace=*", &jobs); err != nil {
		c.t.Errorf("what runs is not stopped: %v", err)
		return
	}
	for _, j := range jobs {
		c.run("job", "stop", "-detach", "-namespace", j.Namespace, j.ID)
	}
	c.until("end of all tasks", func() bool { return c.running("") == 0 })
}

// removeDir removes what the agent has left.
func (c *cluster) removeDir() {
	unmountBelow(c.dir)
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Errorf("something is left: %v", err)
	}
}

// unmountBelow unmounts directories of tasks, which are mounted until an agent collects
// them, hours later.
func unmountBelow(dir string) {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines) // the inner ones first
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			exec.Command("umount", fields[1]).Run()
		}
	}
}

// running counts the allocations of a job that have not ended.
func (c *cluster) running(job string) (n int) {
	for _, a := range c.allocations(job) {
		if a.ClientStatus == "running" || a.ClientStatus == "pending" {
			n++
		}
	}
	return n
}

func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(testTimeout); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("no %s within %v; the end of the agents' log:\n%s", what, testTimeout, c.log())
		}
	}
}

// get asks serai for a path of a host.
func (c *cluster) get(host, path string, header ...string) (status int, body string) {
	r, err := http.NewRequest("GET", c.traffic+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	r.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// reaches waits for an answer that begins with a name.
func (c *cluster) reaches(host, path, name string) {
	c.t.Helper()
	c.until(host+path+" from "+name, func() bool {
		status, body := c.get(host, path)
		return status == 200 && strings.HasPrefix(body, name+",")
	})
}

// say makes so many calls of gRPC of the sample service over one connection, and returns which
// allocations of it have answered.
func (c *cluster) say(host, name string, calls int) map[string]bool {
	client, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(c.traffic, "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(host))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	seen := make(map[string]bool)
	for range calls {
		var said echo.SayResponse
		if err := client.Invoke(ctx, echo.EchoSayProcedure, &echo.SayRequest{Text: "hello"}, &said); err != nil || said.Name != name || said.Text != "hello" {
			c.t.Errorf("%s answered %v, %v", host, &said, err)
			break
		}
		seen[said.Alloc] = true
	}
	return seen
}

// underLoad asks for a host all the time while f runs: no request may fail.
func (c *cluster) underLoad(host string, f func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var good atomic.Int64
	var mu sync.Mutex
	var bad []string
	for range 4 {
		running.Go(func() {
			for ctx.Err() == nil {
				if status, body := c.get(host, "/"); status == 200 {
					good.Add(1)
				} else {
					mu.Lock()
					bad = append(bad, fmt.Sprintf("%d %.200s", status, body))
					mu.Unlock()
				}
			}
		})
	}
	f()
	cancel()
	running.Wait()
	if len(bad) > 0 || good.Load() == 0 {
		c.t.Errorf("%d requests were answered, %d failed: %v", good.Load(), len(bad), bad[:min(3, len(bad))])
	} else {
		c.t.Logf("%d requests, none failed", good.Load())
	}
}

// ready returns what /ready says.
func (c *cluster) ready() string {
	res, err := http.Get("http://" + c.admin + "/ready")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

// instances returns how many ready instances serai knows of a service, -1 when
// it cannot be asked.
func (c *cluster) instances(service string) (n int) {
	res, err := http.Get("http://" + c.admin + "/instances?service=" + service)
	if err != nil {
		return -1
	}
	defer res.Body.Close()
	var list []struct{ State string }
	if json.NewDecoder(res.Body).Decode(&list) != nil {
		return -1
	}
	for _, i := range list {
		if i.State == "ready" {
			n++
		}
	}
	return n
}

// download serves our binary, for tasks that fetch it.
func (c *cluster) download() string {
	s := httptest.NewServer(http.FileServer(http.Dir(c.path("dist"))))
	c.t.Cleanup(s.Close)
	return s.URL + "/serai"
}

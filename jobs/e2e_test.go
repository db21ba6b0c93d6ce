package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cluster is a real agent, server and client in one, with serai as its system
// job.
type cluster struct {
	t       *testing.T
	nomad   string
	dir     string
	binary  string
	address string // of Nomad's API
	traffic string // of serai
	admin   string
	agent   *exec.Cmd
	exited  chan error
}

// newCluster builds serai, starts an agent, and runs serai's own job.
func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, nomad: os.Getenv("NOMAD_BIN")}
	if testing.Short() {
		t.Skip("a real agent takes minutes: not with -short")
	}
	if c.nomad == "" {
		path, err := exec.LookPath("nomad")
		if err != nil {
			t.Skip("no real agent: put nomad on PATH, or its path into NOMAD_BIN")
		}
		c.nomad = path
	}
	if os.Getuid() != 0 {
		t.Skip("a real client needs root")
	}
	// Sockets lie below it, whose paths must be short.
	dir, err := os.MkdirTemp("", "serai")
	if err != nil {
		t.Fatal(err)
	}
	c.dir = dir
	t.Cleanup(func() { os.RemoveAll(dir) })
	c.binary = filepath.Join(dir, "serai")
	build := exec.Command("go", "build", "-o", c.binary, "serai/cmd/serai")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build serai: %v\n%s", err, out)
	}
	ports := freePorts(t, 5)
	c.address = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	c.traffic = fmt.Sprintf("http://127.0.0.1:%d", ports[3])
	c.admin = fmt.Sprintf("127.0.0.1:%d", ports[4])
	config := fmt.Sprintf(`
bind_addr            = "127.0.0.1"
data_dir             = %q
disable_update_check = true
log_level            = "WARN"
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
ports {
  http = %d
  rpc  = %d
  serf = %d
}
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled           = true
  servers           = ["127.0.0.1:%d"]
  cni_path          = "/usr/lib/cni"
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
plugin "docker" {
  config {
    infra_image = "pause:local"
    gc {
      image = false
    }
  }
}
`, filepath.Join(dir, "data"), ports[0], ports[1], ports[2], ports[1])
	if err := os.WriteFile(filepath.Join(dir, "agent.hcl"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.startAgent()
	t.Cleanup(func() {
		for _, job := range c.jobs() {
			c.run("job", "stop", "-detach", "-purge", "-namespace", job[0], job[1])
		}
		c.until("allocations gone", 60*time.Second, func() bool { return !strings.Contains(c.run("node", "status", "-self", "-json"), `"ClientStatus": "running"`) })
		c.stopAgent(syscall.SIGINT)
	})
	c.job("serai.raw_exec", "-var", "http_port="+fmt.Sprint(ports[3]), "-var", "https_port="+fmt.Sprint(freePorts(t, 1)[0]), "-var", "admin="+c.admin)
	c.until("serai ready", time.Minute, func() bool { status, _ := c.get("127.0.0.1", "/.serai/ready"); return status == 200 })
	return c
}

func freePorts(t *testing.T, n int) (ports []int) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (c *cluster) startAgent() {
	log, err := os.OpenFile(filepath.Join(c.dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	c.agent = exec.Command(c.nomad, "agent", "-config", filepath.Join(c.dir, "agent.hcl"))
	c.agent.Stdout, c.agent.Stderr = log, log
	c.agent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.agent.Start(); err != nil {
		c.t.Fatal(err)
	}
	exited := make(chan error, 1)
	c.exited = exited
	go func(agent *exec.Cmd) { exited <- agent.Wait() }(c.agent)
	c.until("node ready", time.Minute, func() bool { return strings.Contains(c.run("node", "status"), "ready") })
}

func (c *cluster) stopAgent(s syscall.Signal) {
	c.agent.Process.Signal(s)
	<-c.exited
}

// run runs a nomad command.
func (c *cluster) run(args ...string) string {
	cmd := exec.Command(c.nomad, args...)
	cmd.Env = append(os.Environ(), "NOMAD_ADDR="+c.address, "NOMAD_CLI_NO_COLOR=1", "NOMAD_CLI_SHOW_HINTS=false")
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// job runs a job file.
func (c *cluster) job(name string, args ...string) {
	c.t.Helper()
	args = append([]string{"job", "run", "-detach"}, args...)
	text, err := os.ReadFile(name + ".nomad.hcl")
	if err != nil {
		c.t.Fatal(err)
	}
	if strings.Contains(string(text), `variable "binary"`) {
		args = append(args, "-var", "binary="+c.binary)
	}
	if out := c.run(append(args, name+".nomad.hcl")...); !strings.Contains(out, "registration successful") {
		c.t.Fatalf("run %s: %s", name, out)
	}
}

func (c *cluster) jobs() (jobs [][2]string) {
	res, err := http.Get(c.address + "/v1/jobs?namespace=*")
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var list []struct{ Namespace, ID string }
	json.NewDecoder(res.Body).Decode(&list)
	for _, j := range list {
		jobs = append(jobs, [2]string{j.Namespace, j.ID})
	}
	return jobs
}

func (c *cluster) until(what string, within time.Duration, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(within); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(c.dir, "agent.log"))
			c.t.Fatalf("no %s within %v; the end of the agent's log:\n%s", what, within, log[max(0, len(log)-2000):])
		}
	}
}

// get asks serai for a path of a host.
func (c *cluster) get(host, path string, header ...string) (status int, body string) {
	r, err := http.NewRequest("GET", c.traffic+path, nil)
	if err != nil {
		c.t.Fatal(err)
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
	c.until(host+path+" from "+name, time.Minute, func() bool {
		status, body := c.get(host, path)
		return status == 200 && strings.HasPrefix(body, name+",")
	})
}

// load asks for a host until stop is called, which returns how many requests
// were answered and what was wrong with the others.
func (c *cluster) load(host string) (stop func() (int64, []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
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
	return func() (int64, []string) {
		cancel()
		running.Wait()
		return good.Load(), bad
	}
}

// TestOnRealNomad runs all job files on a real agent and asks for each service
// through serai's own system job.
func TestOnRealNomad(t *testing.T) {
	c := newCluster(t)

	t.Run("examples", func(t *testing.T) {
		c.t = t
		c.run("namespace", "apply", "team-a")
		for _, job := range []string{"host-dynamic", "host-static", "groups", "namespace", "sticky", "path", "broken-tags", "canary"} {
			if job == "host-static" {
				c.job(job, "-var", fmt.Sprintf("port=%d", freePorts(t, 1)[0]))
				continue
			}
			c.job(job)
		}
		for host, name := range map[string]string{
			"dynamic": "web", "static": "web", "groups": "front", "shop.team-a": "web", "sticky": "web", "path": "web", "fine": "web", "canary": "version-1",
		} {
			c.reaches(host+".example.org", "/", name)
		}
		c.reaches("path.example.org", "/api/items", "api")
		if status, _ := c.get("old.example.org", "/x"); status != 308 {
			t.Errorf("the redirect answered %d", status)
		}
		if status, body := c.get("nobody.example.org", "/"); status != 404 || !strings.Contains(body, "no-host") {
			t.Errorf("an unknown host answered %d %s", status, body)
		}
		if status, _ := c.get("typo.example.org", "/"); status != 404 {
			t.Errorf("a refused route answered %d", status)
		}
		seen := make(map[string]bool)
		c.until("three instances", time.Minute, func() bool {
			_, body := c.get("dynamic.example.org", "/")
			first, _, _ := strings.Cut(body, "\n")
			seen[first] = true
			return len(seen) == 3
		})
	})

	t.Run("containers", func(t *testing.T) {
		c.t = t
		needContainers(t, c.binary)
		for _, job := range []string{"docker-mapped", "bridge", "shared-namespace"} {
			c.job(job)
		}
		for host, name := range map[string]string{"mapped": "web", "bridge": "web", "front": "front", "back": "back"} {
			c.reaches(host+".example.org", "/", name)
		}
	})

	t.Run("canary", func(t *testing.T) {
		c.t = t
		stop := c.load("canary.example.org")
		c.job("canary", "-var", "version=2")
		c.until("an asked-for canary", time.Minute, func() bool {
			_, body := c.get("canary.example.org", "/", "X-Canary", "1")
			return strings.HasPrefix(body, "version-2,")
		})
		c.until("a promotion", time.Minute, func() bool { return !strings.Contains(c.run("job", "promote", "-detach", "canary"), "Error") })
		c.until("only the new version", 2*time.Minute, func() bool {
			for range 20 {
				if _, body := c.get("canary.example.org", "/"); !strings.HasPrefix(body, "version-2,") {
					return false
				}
			}
			return true
		})
		if good, bad := stop(); len(bad) > 0 || good == 0 {
			t.Errorf("%d requests were answered, %d failed: %v", good, len(bad), bad[:min(3, len(bad))])
		} else {
			t.Logf("%d requests, none failed", good)
		}
	})

	t.Run("scale", func(t *testing.T) {
		c.t = t
		stop := c.load("dynamic.example.org")
		for _, n := range []string{"5", "1", "3"} {
			c.scale("host-dynamic", n)
			c.until(n+" instances", time.Minute, func() bool { return c.instances("host-dynamic") == n })
		}
		if good, bad := stop(); len(bad) > 0 || good == 0 {
			t.Errorf("%d requests were answered, %d failed: %v", good, len(bad), bad[:min(3, len(bad))])
		} else {
			t.Logf("%d requests, none failed", good)
		}
	})

	t.Run("nomad is killed and comes back", func(t *testing.T) {
		c.t = t
		stop := c.load("dynamic.example.org")
		c.stopAgent(syscall.SIGKILL)
		c.until("staleness at /ready", 10*time.Second, func() bool { return strings.Contains(c.ready(), "stale since") })
		for _, host := range []string{"static.example.org", "path.example.org", "shop.team-a.example.org"} {
			if status, body := c.get(host, "/"); status != 200 {
				t.Errorf("%s answered %d %s while Nomad was away", host, status, body)
			}
		}
		c.startAgent()
		c.until("a live source", time.Minute, func() bool { return strings.Contains(c.ready(), `"phase": "live"`) })
		c.scale("host-dynamic", "4")
		c.until("what changed since", time.Minute, func() bool { return c.instances("host-dynamic") == "4" })
		if good, bad := stop(); len(bad) > 0 || good == 0 {
			t.Errorf("%d requests were answered, %d failed: %v", good, len(bad), bad[:min(3, len(bad))])
		} else {
			t.Logf("%d requests, none failed", good)
		}
	})

	t.Run("stop", func(t *testing.T) {
		c.t = t
		c.run("job", "stop", "-detach", "-purge", "host-static")
		c.until("no instance", time.Minute, func() bool { return c.instances("host-static") == "0" })
	})
}

// scale scales a job, once its last deployment allows it.
func (c *cluster) scale(job, count string) {
	c.t.Helper()
	c.until("scaling of "+job, time.Minute, func() bool {
		return !strings.Contains(c.run("job", "scale", "-detach", job, "web", count), "Error")
	})
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

// instances returns how many ready instances serai knows of a service.
func (c *cluster) instances(service string) string {
	res, err := http.Get("http://" + c.admin + "/instances?service=" + service)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	var list []struct{ State string }
	json.NewDecoder(res.Body).Decode(&list)
	n := 0
	for _, i := range list {
		if i.State == "ready" {
			n++
		}
	}
	return fmt.Sprint(n)
}

// needContainers makes the image serai:dev of the binary, or skips.
func needContainers(t *testing.T, binary string) {
	if err := exec.Command("docker", "image", "inspect", "pause:local").Run(); err != nil {
		t.Skip("no Docker with an image pause:local for Nomad's infra_image")
	}
	if _, err := os.Stat("/usr/lib/cni/bridge"); err != nil {
		t.Skip("no CNI plugins in /usr/lib/cni")
	}
	dir := t.TempDir()
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "dist"), 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dist/serai"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), dockerfile, 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("docker", "build", "-t", "serai:dev", dir)
	build.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the image: %v\n%s", err, out)
	}
}

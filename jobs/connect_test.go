package jobs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"serai/internal/consulagent"
	"serai/internal/netns"
	"serai/internal/nomadagent"
)

// meshNode is a host with a network of its own, on which agents of Nomad and Consul run, each
// server and client at once, and serai.
type meshNode struct {
	t     *testing.T
	dir   string
	space *netns.Space
	ended []func()
	left  nomadagent.Processes
}

// TestConnectOnRealNomad deploys connect.nomad.hcl on real agents of Nomad and Consul: its
// sidecars, Consul's own proxies in the networks of their allocations, are how serai reaches
// its instances, and who denies it is told.
func TestConnectOnRealNomad(t *testing.T) {
	switch {
	case testing.Short():
		t.Skip("real agents take minutes: not with -short")
	case findNomad() == "" || consulagent.Binary() == "":
		t.Skip("no real agents: put nomad and consul on PATH, or their paths into NOMAD_BIN and CONSUL_BIN")
	case cniPath() == "":
		t.Skip("no CNI plugins in /opt/cni/bin or /usr/lib/cni")
	}
	network, err := netns.New("serai-mesh", "10.203.19.")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(network.End)
	space, err := network.Add()
	if err != nil {
		t.Fatal(err)
	}
	// Sockets lie below it, whose paths must be short.
	dir, err := os.MkdirTemp("", "serai")
	if err != nil {
		t.Fatal(err)
	}
	n := &meshNode{t: t, dir: dir, space: space}
	t.Cleanup(n.end)
	n.route()
	consul, nomad := net.JoinHostPort(space.Address, "8500"), net.JoinHostPort(space.Address, "4646")
	n.start("consul", nil, consulagent.Binary(), "agent", "-dev", "-node=node1", "-bind="+space.Address, "-client="+space.Address, "-log-level=warn")
	n.answers("http://"+consul+"/v1/status/leader", `:8300"`)
	n.nomad(consul)
	n.answers("http://"+nomad+"/v1/nodes", `"Status":"ready"`)
	binary := filepath.Join(n.dir, "serai")
	build := exec.Command("go", "build", "-o", binary, "serai/cmd/serai")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build serai: %v\n%s", err, out)
	}
	run := exec.Command(findNomad(), "job", "run", "-detach", "-var=sidecar=builtin", "-var=consul=/bin/consul", "-var=binary=/bin/serai", "connect.nomad.hcl")
	run.Env = append(os.Environ(), "NOMAD_ADDR=http://"+nomad)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("nomad job run: %v\n%s", err, out)
	}
	traffic := net.JoinHostPort(space.Address, "80")
	n.start("serai", nil, binary, "serve", "--no-nomad", "--consul=http://"+consul, "--http="+traffic, "--https=", "--admin=", "--drain-delay=0s")
	instances := make(map[string]bool)
	n.until("both instances", func() bool {
		status, body := n.get("http://"+traffic+"/", "connect.example.org")
		if status == 200 {
			first, _, _ := strings.Cut(body, "\n")
			instances[first] = true
		}
		return len(instances) == 2
	})
	n.intend(consul, "deny")
	n.until("a denial", func() bool {
		status, body := n.get("http://"+traffic+"/", "connect.example.org")
		return status == 503 && strings.Contains(body, "connect-denied")
	})
	n.intend(consul, "allow")
	n.until("an answer again", func() bool { status, _ := n.get("http://"+traffic+"/", "connect.example.org"); return status == 200 })
	stop := exec.Command(findNomad(), "job", "stop", "-purge", "-detach", "connect")
	stop.Env = run.Env
	if out, err := stop.CombinedOutput(); err != nil {
		t.Fatalf("nomad job stop: %v\n%s", err, out)
	}
	n.until("the end of the allocations", func() bool {
		_, body := n.get("http://"+nomad+"/v1/allocations", "")
		return !strings.Contains(body, `"ClientStatus":"running"`)
	})
}

// route has the host a way to everywhere, which Nomad looks for.
func (n *meshNode) route() {
	command := n.space.Command("ip", "route", "add", "default", "dev", netns.Interface)
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("add a route: %v %s", err, out)
	}
}

// nomad starts an agent that is server and client. Tasks get what the two programs need.
func (n *meshNode) nomad(consul string) {
	chroot := map[string]string{consulagent.Binary(): "/bin/consul", filepath.Join(n.dir, "serai"): "/bin/serai"}
	for _, path := range libraries(n.t, consulagent.Binary()) {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			n.t.Fatal(err)
		}
		chroot[real] = path
	}
	var env strings.Builder
	for from, to := range chroot {
		fmt.Fprintf(&env, "    %q = %q\n", from, to)
	}
	path := filepath.Join(n.dir, "nomad.hcl")
	config := nomadagent.Config{Name: "node1", DataDir: filepath.Join(n.dir, "nomad"), IP: n.space.Address, HTTP: "4646", RPC: "4647", Serf: "4648"}
	text := config.HCL() + fmt.Sprintf(`
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled           = true
  cni_path          = %q
  network_interface = %q
  gc_disk_usage_threshold = 99
  options {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }
  chroot_env {
%s  }
}
consul {
  address = %q
}
`, cniPath(), netns.Interface, env.String(), consul)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	// Nomad has the consul command make Envoy's configuration, whatever the sidecar is.
	bin := filepath.Join(n.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Symlink(consulagent.Binary(), filepath.Join(bin, "consul")); err != nil {
		n.t.Fatal(err)
	}
	n.start("nomad", []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, findNomad(), "agent", "-config="+path)
}

// libraries are what a program needs of the system, none when it is static.
func libraries(t *testing.T, program string) (paths []string) {
	t.Helper()
	out, _ := exec.Command("ldd", program).Output() // which fails for a static one
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		for _, field := range strings.Fields(s.Text()) {
			if strings.HasPrefix(field, "/") {
				paths = append(paths, field)
			}
		}
	}
	return paths
}

// start runs a program on the host until the test ends. It sees the machine's control groups,
// which it would not in a whole namespace of its own.
func (n *meshNode) start(name string, env []string, args ...string) {
	n.t.Helper()
	command := append([]string{"nsenter", "--net=/run/netns/" + n.space.Name()}, args...)
	log, err := os.Create(filepath.Join(n.dir, name+".log"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, v := range append(os.Environ(), env...) {
		if !strings.HasPrefix(v, "NOMAD_") && !strings.HasPrefix(v, "CONSUL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.ended = append(n.ended, func() {
		n.left.Note(cmd.Process.Pid)
		cmd.Process.Signal(syscall.SIGINT)
		exited := make(chan struct{})
		go func() {
			cmd.Wait()
			close(exited)
		}()
		select {
		case <-exited:
		case <-time.After(testTimeout):
			cmd.Process.Kill()
			<-exited
		}
		if n.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			n.t.Logf("%s said:\n%s", name, text[max(0, len(text)-3000):])
		}
	})
}

// end ends all programs, the last one first, and what Nomad's tasks have left.
func (n *meshNode) end() {
	for i := len(n.ended) - 1; i >= 0; i-- {
		n.ended[i]()
	}
	n.left.End()
	// The networks of allocations, if Nomad had no time left for them.
	allocs, _ := filepath.Glob(filepath.Join(n.dir, "nomad/alloc/*"))
	for _, path := range allocs {
		exec.Command("ip", "netns", "delete", filepath.Base(path)).Run()
	}
	unmountBelow(n.dir)
	if err := os.RemoveAll(n.dir); err != nil {
		n.t.Errorf("something is left: %v", err)
	}
}

func (n *meshNode) until(what string, holds func() bool) {
	n.t.Helper()
	for end := time.Now().Add(10 * testTimeout); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (n *meshNode) answers(url, part string) {
	n.t.Helper()
	n.until(url, func() bool { status, body := n.get(url, ""); return status == 200 && strings.Contains(body, part) })
}

// get makes a request from this machine.
func (n *meshNode) get(url, host string) (int, string) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.do(r, host)
}

func (n *meshNode) do(r *http.Request, host string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r = r.WithContext(ctx)
	r.Host, r.Close = host, true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	var body strings.Builder
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		body.WriteString(s.Text() + "\n")
	}
	return res.StatusCode, body.String()
}

// intend allows or denies serai's connections to the service.
func (n *meshNode) intend(consul, action string) {
	n.t.Helper()
	body, err := json.Marshal(map[string]string{"Action": action})
	if err != nil {
		n.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPut, "http://"+consul+"/v1/connect/intentions/exact?source=serai&destination=connect", strings.NewReader(string(body)))
	if err != nil {
		n.t.Fatal(err)
	}
	if status, said := n.do(r, ""); status != 200 {
		n.t.Fatalf("intention: %d %s", status, said)
	}
}

package jobs_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"serai/admin"
	"serai/internal/testnet"
	"serai/tls/acme"
	"serai/tls/acme/acmetest"
)

// TestOnRealNomad runs all examples on real agents and asks for each service
// through serai's own system job.
func TestOnRealNomad(t *testing.T) {
	c := newCluster(t, false)
	config, err := os.ReadFile("serai.config.hcl")
	if err != nil {
		t.Fatal(err)
	}
	c.serai("raw_exec", testnet.Ports(t, 2), "config="+string(config), fmt.Sprintf("args=[%q]", "--default-host={service}.example.org"))

	t.Run("examples", func(t *testing.T) {
		c.t = t
		c.job("groups")
		c.examples(c.job)
		if status, _ := c.get("old.example.org", "/x"); status != 308 {
			t.Errorf("the redirect answered %d", status)
		}
		if status, body := c.get("nobody.example.org", "/"); status != 404 || !strings.Contains(body, "no-host") {
			t.Errorf("an unknown host answered %d %s", status, body)
		}
		seen := make(map[string]bool)
		c.until("three instances", func() bool {
			_, body := c.get("dynamic.example.org", "/")
			first, _, _ := strings.Cut(body, "\n")
			seen[first] = true
			return len(seen) == 3
		})
		c.reachesFront("groups.example.org")
	})

	t.Run("docker", func(t *testing.T) {
		c.t = t
		c.needDocker()
		c.job("docker-mapped")
		c.reaches("mapped.example.org", "/", "web")
		t.Run("bridge", func(t *testing.T) {
			c.t = t
			if cniPath() == "" {
				t.Skip("no CNI plugins in /opt/cni/bin or /usr/lib/cni")
			}
			c.job("bridge")
			c.job("shared-namespace")
			for host, name := range map[string]string{"bridge": "web", "front": "front", "back": "back"} {
				c.reaches(host+".example.org", "/", name)
			}
		})
	})

	t.Run("what the files say", func(t *testing.T) {
		c.t = t
		for _, f := range files(t) {
			if c.running(f.job.Labels[0]) == 0 {
				continue // it was skipped
			}
			for _, r := range f.requests(t) {
				c.until(fmt.Sprintf("200 from %v, which %s proposes", r, f.name), func() bool {
					status, _ := c.get(r.host, r.path, r.header...)
					return status == 200
				})
			}
		}
	})

	t.Run("canary", func(t *testing.T) {
		c.t = t
		c.promotes(c.job)
	})

	t.Run("scale", func(t *testing.T) {
		c.t = t
		c.scales()
	})

	t.Run("load", func(t *testing.T) {
		c.t = t
		binary := c.path("loadtest")
		if out, err := exec.Command("go", "build", "-o", binary, "serai/loadtest").CombinedOutput(); err != nil {
			t.Fatalf("build loadtest: %v\n%s", err, out)
		}
		c.job("loadtest", "binary="+binary, "generators=2", "url="+c.traffic+"/", "rate=100", "lasts=3s")
		c.until("two generators that are done", func() bool {
			done := 0
			for _, a := range c.allocations("loadtest") {
				if a.ClientStatus == "complete" {
					done++
				}
			}
			return done == 2
		})
		for _, a := range c.allocations("loadtest") {
			var seen struct{ Requests, Failed int }
			log := c.run("alloc", "logs", a.ID)
			if err := json.Unmarshal([]byte(log), &seen); err != nil || seen.Requests < 100 || seen.Failed > 0 {
				t.Errorf("a generator saw %v, %+v: %s", err, seen, log)
			}
		}
	})

	t.Run("nomad is killed and comes back", func(t *testing.T) {
		c.t = t
		c.underLoad("dynamic.example.org", func() {
			c.stopAgents(syscall.SIGKILL)
			c.until("staleness at /ready", func() bool { return strings.Contains(c.ready(), "stale since") })
			for _, host := range []string{"static.example.org", "path.example.org", "shop.team-a.example.org"} {
				if status, body := c.get(host, "/"); status != 200 {
					t.Errorf("%s answered %d %s while Nomad was away", host, status, body)
				}
			}
			c.startAgents()
			c.until("a live source", func() bool { return strings.Contains(c.ready(), `"phase": "live"`) })
			c.scale("host-dynamic", 4)
		})
	})

	t.Run("stop", func(t *testing.T) {
		c.t = t
		c.run("job", "stop", "-detach", "-purge", "host-static")
		c.until("no instance", func() bool { return c.instances("host-static") == 0 })
	})
}

// TestDriversOnRealNomad runs serai's own job with each driver, with ACLs and
// the policy as the README has it, on ports that are for root alone.
func TestDriversOnRealNomad(t *testing.T) {
	c := newCluster(t, true)
	c.settle()
	for _, driver := range []string{"docker", "exec", "raw_exec"} {
		t.Run(driver, func(t *testing.T) {
			c.t = t
			var vars []string
			switch driver {
			case "docker":
				c.needDocker()
			case "exec":
				vars = append(vars, "binary="+c.download())
			}
			c.needDriver(driver)
			c.serai(driver, lowPorts(t, 2), vars...)
			c.reaches("dynamic.example.org", "/", "web")
			c.reaches("shop.team-a.example.org", "/", "web")
			for _, a := range c.allocations("serai") {
				if a.ClientStatus != "running" {
					continue
				}
				var log string
				c.until("log of serai", func() bool {
					log = c.run("alloc", "logs", "-stderr", a.ID)
					return strings.Contains(log, "listener=http")
				})
				if strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
					t.Errorf("serai is not content:\n%s", log)
				}
			}
			c.run("job", "stop", "-detach", "serai")
			c.until("end of serai", func() bool { return c.running("serai") == 0 })
			for _, a := range c.allocations("serai") {
				for _, e := range a.TaskStates["serai"].Events {
					if e.Type == "Terminated" && e.ExitCode != 0 {
						t.Errorf("serai ended with %d on a stop", e.ExitCode)
					}
				}
			}
		})
	}
}

// TestCertificatesOnRealNomad runs serai's own job with ACLs, the policy as the
// README has it, and one flag more: every host gets a certificate, of which the
// store is Nomad's. Nothing is ordered while another registered serai still runs
// without that flag.
func TestCertificatesOnRealNomad(t *testing.T) {
	c := newCluster(t, true)
	c.settle()
	ports := testnet.Ports(t, 2)
	ca := acmetest.New(t, acmetest.Options{HTTP: fmt.Sprintf("127.0.0.1:%d", ports[0]), TLS: fmt.Sprintf("127.0.0.1:%d", ports[1])})
	flags, _ := json.Marshal([]string{"--acme-email=ops@example.org", "--acme-directory=" + ca.Directory, "--acme-ca-root=" + ca.RootFile})
	old := testnet.Ports(t, 1)[0]
	c.job("testdata/old-serai", fmt.Sprintf("http_port=%d", old))
	c.until("a serai with old flags", func() bool { return c.running("serai-old") == 1 })
	c.serai("raw_exec", ports, "args="+string(flags))
	c.until("the wait for it to be told", func() bool {
		waiting := c.waiting()
		return waiting != nil && waiting.Count == 1 && strings.HasSuffix(waiting.Peers[0].Address, fmt.Sprintf(":%d", old))
	})
	if n := ca.AllOrders(); n != 0 {
		t.Errorf("%d orders were made while a serai passes validations on", n)
	}
	c.run("job", "stop", "-purge", "-detach", "serai-old")
	for _, host := range []string{"dynamic.example.org", "shop.team-a.example.org"} {
		var err error
		c.until("a certificate for "+host, func() bool {
			var conn *tls.Conn
			conn, err = tls.Dial("tcp", ca.TLS, &tls.Config{ServerName: host, RootCAs: ca.Roots()})
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		if n := ca.Orders(host); n != 1 {
			t.Errorf("%s was ordered %d times", host, n)
		}
	}
	if out := c.run("var", "list", "serai/"); !strings.Contains(out, "serai/leader") || !strings.Contains(out, "serai/tls/certs/") {
		t.Errorf("Nomad has these variables:\n%s", out)
	}
	if n := ca.Failed(); n != 0 {
		t.Errorf("%d authorizations failed", n)
	}
	for _, a := range c.allocations("serai") {
		log := c.run("alloc", "logs", "-stderr", a.ID)
		log = strings.ReplaceAll(log, `level=WARN msg="orders wait until every serai answers`, "")
		if strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
			t.Errorf("serai is not content:\n%s", log)
		}
	}
}

// waiting is whom serai's orders wait for, nil when they do not.
func (c *cluster) waiting() *acme.Waiting {
	res, err := http.Get("http://" + c.admin + "/certificates")
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var all admin.Certificates
	if json.NewDecoder(res.Body).Decode(&all) != nil || all.Obtained == nil {
		return nil
	}
	return all.Obtained.Waiting
}

// settle applies the policy as the README has it, and runs services of two
// namespaces.
func (c *cluster) settle() {
	c.t.Helper()
	if out := c.run("acl", "policy", "apply", "-namespace", "default", "-job", "serai", "serai", "serai.policy.hcl"); !strings.Contains(out, "Successfully") {
		c.t.Fatalf("apply the policy: %s", out)
	}
	c.run("namespace", "apply", "team-a")
	c.job("host-dynamic")
	c.job("namespace")
}

// scale gives a job n instances and waits until serai has them all.
func (c *cluster) scale(job string, n int) {
	c.t.Helper()
	// Nomad refuses while the last deployment is under way.
	c.until("scaling", func() bool { return !strings.Contains(c.run("job", "scale", "-detach", job, fmt.Sprint(n)), "Error") })
	c.until(fmt.Sprintf("%d instances", n), func() bool { return c.instances(job) == n })
}

// needDriver skips when the node cannot run tasks of a driver.
func (c *cluster) needDriver(name string) {
	var nodes []struct {
		Drivers map[string]struct {
			Healthy           bool
			HealthDescription string
		}
	}
	c.until("nodes", func() bool { return c.api("/v1/nodes", &nodes) == nil && len(nodes) > 0 })
	if d := nodes[0].Drivers[name]; !d.Healthy {
		c.t.Skipf("the node has no driver %s: %s", name, d.HealthDescription)
	}
}

// login makes the user that auth.nomad.hcl proposes, whom nobody knows before.
func (c *cluster) login(host string) {
	c.t.Helper()
	c.until("503 as long as nobody knows the users", func() bool {
		status, body := c.get(host, "/")
		return status == 503 && strings.Contains(body, "auth-unavailable")
	})
	c.reaches(host, "/public", "web")
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		c.t.Fatal(err)
	}
	users := c.path("users")
	if err := os.WriteFile(users, []byte("ann:"+string(hash)+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if out := c.run("var", "put", "serai/auth/staff", "users=@"+users); strings.Contains(out, "Error") {
		c.t.Fatal(out)
	}
	c.until("401 for who has no password", func() bool { status, _ := c.get(host, "/"); return status == 401 })
	c.until("the instance for who has one", func() bool {
		status, body := c.get(host, "/", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ann:secret")))
		return status == 200 && strings.Contains(body, "X-Forwarded-User: ann")
	})
}

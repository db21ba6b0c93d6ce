package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"serai/internal/testnet"
)

// contestJob claims one host for a team.
const contestJob = `
variable "team" { type = string }
variable "binary" { type = string }
variable "service" { default = "shop" }
variable "version" { default = "1" }
job "shop" {
  namespace = var.team
  group "web" {
    network {
      port "http" {}
    }
    update {
      min_healthy_time = "0s"
      health_check     = "task_states"
    }
    service {
      name     = var.service
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.host=shop.example.org"]
    }
    task "web" {
      driver       = "raw_exec"
      kill_timeout = "1s"
      config {
        command = var.binary
        args    = ["hello", "--addr=127.0.0.1:${NOMAD_PORT_http}", "--name=${var.team}"]
      }
      env {
        VERSION = var.version
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
`

// contest is the cluster with serai run by hand, three times, under the policy
// as the README has it.
type contest struct {
	*cluster
	token string
	nodes []*byHand
	jobs  int
}

// byHand is a serai that can be restarted.
type byHand struct {
	c              *contest
	traffic, admin string
	dir            string
	cmd            *exec.Cmd
}

func newContest(t *testing.T) *contest {
	x := &contest{cluster: newCluster(t, true)}
	for _, args := range [][]string{
		{"acl", "policy", "apply", "serai", "serai.policy.hcl"},
		{"namespace", "apply", "team-a"}, {"namespace", "apply", "team-b"},
	} {
		if out := x.run(args...); !strings.Contains(out, "Successfully") {
			t.Fatalf("%v: %s", args, out)
		}
	}
	var token struct{ SecretID string }
	if out := x.run("acl", "token", "create", "-policy=serai", "-json"); json.Unmarshal([]byte(out), &token) != nil || token.SecretID == "" {
		t.Fatalf("no token: %s", out)
	}
	x.token = token.SecretID
	if err := os.WriteFile(x.path("contest.nomad.hcl"), []byte(contestJob), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		ports := testnet.Ports(t, 2)
		n := &byHand{c: x, traffic: fmt.Sprintf("127.0.0.1:%d", ports[0]), admin: fmt.Sprintf("127.0.0.1:%d", ports[1]), dir: x.path(fmt.Sprint("serai-", i))}
		n.start()
		x.nodes = append(x.nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range x.nodes {
			n.stop()
		}
	})
	return x
}

func (n *byHand) start() {
	n.c.t.Helper()
	n.cmd = exec.Command(n.c.binary, "serve", "--http="+n.traffic, "--admin="+n.admin, "--drain-delay=0s", "--drain-timeout=1s", "--state-dir="+n.dir)
	n.cmd.Env = []string{"NOMAD_ADDR=" + n.c.address, "NOMAD_TOKEN=" + n.c.token}
	log, err := os.OpenFile(n.c.path("serai.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer log.Close()
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		n.c.t.Fatal(err)
	}
}

func (n *byHand) stop() {
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.cmd.Wait()
}

// asks returns which team answers, or the status.
func (n *byHand) asks() string {
	r, err := http.NewRequest("GET", "http://"+n.traffic+"/", nil)
	if err != nil {
		return err.Error()
	}
	r.Host, r.Close = "shop.example.org", true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "0"
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return fmt.Sprint(res.StatusCode)
	}
	var body [16]byte
	k, _ := res.Body.Read(body[:])
	name, _, _ := strings.Cut(string(body[:k]), ",")
	return name
}

func (n *byHand) serves(team string) {
	n.c.t.Helper()
	n.c.until("answer of "+team, func() bool { return n.asks() == team })
}

// deploy runs a team's job anew.
func (x *contest) deploy(team string, vars ...string) {
	x.t.Helper()
	x.jobs++
	args := []string{"job", "run", "-detach", "-var", "team=" + team, "-var", "binary=" + x.binary, "-var", fmt.Sprint("version=", x.jobs)}
	for _, v := range vars {
		args = append(args, "-var", v)
	}
	if out := x.run(append(args, x.path("contest.nomad.hcl"))...); !strings.Contains(out, "registration successful") {
		x.t.Fatalf("run %s: %s", team, out)
	}
}

// recorded is what stands in the record about the host, which belongs to a
// namespace.
func (x *contest) recorded() string {
	var v struct{ Items map[string]string }
	if x.api("/v1/var/serai/claims/ingress", &v) != nil {
		return ""
	}
	return v.Items["shop.example.org host"]
}

func (x *contest) untilRecorded(want string) {
	x.t.Helper()
	x.until("record "+want, func() bool { return x.recorded() == want })
}

// registered returns how many instances of a team Nomad knows.
func (x *contest) registered(team string) (n int) {
	var list []struct{ AllocID string }
	x.api("/v1/service/shop?namespace="+team, &list)
	return len(list)
}

// restart restarts one serai after the other while clients ask all of them, and
// calls change before each. The right team answers, or nobody does.
func (x *contest) restart(times int, team string, change func(i int)) {
	x.t.Helper()
	ctx, cancel := context.WithCancel(x.t.Context())
	var right, wrong, failed, refused atomic.Int64
	var clients sync.WaitGroup
	for _, n := range x.nodes {
		for range 5 {
			clients.Go(func() {
				for ctx.Err() == nil {
					switch got := n.asks(); {
					case got == team:
						right.Add(1)
					case strings.HasPrefix(got, "team-"):
						wrong.Add(1)
					case got == "0": // it restarts
						refused.Add(1)
						time.Sleep(10 * time.Millisecond)
					default:
						failed.Add(1)
					}
					time.Sleep(2 * time.Millisecond)
				}
			})
		}
	}
	defer clients.Wait()
	defer cancel()
	for i := range times {
		change(i)
		n := x.nodes[i%len(x.nodes)]
		n.stop()
		n.start()
		n.serves(team)
	}
	x.t.Logf("%d restarts: %d requests reached the holder, %d the rival, %d were answered by serai itself, %d connections were refused or cut by a restart",
		times, right.Load(), wrong.Load(), failed.Load(), refused.Load())
	if wrong.Load() > 0 || right.Load() < int64(20*times) {
		x.t.Errorf("%d requests reached the wrong team, %d the right one", wrong.Load(), right.Load())
	}
}

// TestContestOnRealNomad: two teams claim one host. Through redeploys of both,
// restarts of single serai and a restored snapshot no request reaches the wrong
// team, and a holder that ends hands over within seconds.
func TestContestOnRealNomad(t *testing.T) {
	x := newContest(t)
	x.deploy("team-a")
	for _, n := range x.nodes {
		n.serves("team-a")
	}
	x.deploy("team-b")
	x.untilRecorded("team-a/* team-b/*")
	x.restart(50, "team-a", func(i int) {
		switch i % 5 {
		case 1:
			x.deploy("team-a")
		case 3:
			x.deploy("team-b")
		}
	})

	x.until("settled instances", func() bool { return x.registered("team-a") == 1 && x.registered("team-b") == 1 })
	began := time.Now()
	x.run("job", "stop", "-detach", "-purge", "-namespace", "team-a", "shop")
	for _, n := range x.nodes {
		n.serves("team-b")
	}
	t.Logf("the rival had the host %v after the holder was purged", time.Since(began).Round(time.Millisecond))
	x.untilRecorded("")
	x.deploy("team-a")
	x.untilRecorded("team-b/* team-a/*")
	// Under a new name it keeps its place, before a rival.
	x.deploy("team-b", "service=store")
	x.untilRecorded("team-b/* team-a/*")
	for _, n := range x.nodes {
		n.serves("team-b")
	}

	// A record that is lost is written again as it was. Nomad goes back to a
	// state in which it was there.
	// An instance that has not ended in that state would never end for Nomad: its
	// client has told already that it did.
	x.until("one instance of each team", func() bool { return x.running("") == 2 })
	x.run("operator", "snapshot", "save", x.path("snapshot"))
	x.run("var", "purge", "serai/claims/ingress")
	x.untilRecorded("team-b/* team-a/*")
	x.restart(10, "team-b", func(i int) {
		if i == 3 {
			if out := x.run("operator", "snapshot", "restore", x.path("snapshot")); !strings.Contains(out, "Restored") {
				t.Errorf("restore: %s", out)
			}
		}
	})
	x.untilRecorded("team-b/* team-a/*")
}

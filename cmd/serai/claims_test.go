package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
)

// team is a service that a simulated cluster runs, named after its team.
type team struct {
	t    *testing.T
	sim  *nomadsim.Sim
	name string
	tags []string
	// address answers with the team's name.
	address nomad.Registration
	current string // ID of the instance
	next    int
}

func newTeam(t *testing.T, sim *nomadsim.Sim, name string, tags ...string) *team {
	t.Helper()
	sim.CreateNamespace(name)
	x := &team{t: t, sim: sim, name: name, tags: tags, address: instance(t, name, tags...)}
	x.put(1)
	return x
}

// put writes the team's job.
func (x *team) put(count int) {
	x.sim.PutJob(nomadsim.Job{Namespace: x.name, ID: "shop-" + x.name, Groups: []nomadsim.Group{{
		Name: "web", Count: count, Services: []nomad.JobService{{Name: "shop", Tags: x.tags}},
	}}})
}

// come registers a new instance.
func (x *team) come() {
	x.next++
	r := x.address
	r.Namespace, r.ServiceName, r.JobID = x.name, "shop", "shop-"+x.name
	r.ID = fmt.Sprintf("%s-%d", x.name, x.next)
	r.AllocID, x.current = "alloc-"+r.ID, r.ID
	x.sim.Register(r)
}

// goAway deregisters the instance.
func (x *team) goAway() { x.sim.Deregister(x.name, x.current) }

// redeploy replaces the instance, at first the old one by nothing if there is
// to be a gap.
func (x *team) redeploy(gap time.Duration) {
	old := x.current
	if gap > 0 {
		x.goAway()
		time.Sleep(gap)
		x.come()
		return
	}
	x.come()
	x.sim.Deregister(x.name, old)
}

// ingress is a serai that can be restarted at the same addresses.
type ingress struct {
	t              *testing.T
	env            map[string]string
	args           []string
	traffic, admin string
	p              *process
}

func newIngress(t *testing.T, url string, args ...string) *ingress {
	n := &ingress{t: t, env: map[string]string{"NOMAD_ADDR": url}, traffic: testnet.Address(t), admin: testnet.Address(t)}
	n.args = append([]string{"serve", "--http=" + n.traffic, "--admin=" + n.admin, "--drain-delay=0s", "--drain-timeout=1s"}, args...)
	n.run()
	return n
}

func (n *ingress) run() { n.p = start(n.t, n.env, n.args...) }

func (n *ingress) restart() {
	n.t.Helper()
	n.p.stop()
	if err := n.p.wait(n.t); err != nil {
		n.t.Fatal(err)
	}
	n.run()
}

// serves waits until a host is answered by a team.
func (n *ingress) serves(host, team string) {
	n.t.Helper()
	until(n.t, host+" from "+team, func() bool { return n.asks(host) == team })
}

// asks returns which team answers.
func (n *ingress) asks(host string) string {
	status, body := get(n.traffic, host, "/")
	if status != 200 {
		return fmt.Sprint(status)
	}
	name, _, _ := strings.Cut(body, ",")
	return name
}

// recorded returns what stands in the record about a host.
func recorded(sim *nomadsim.Sim, host string) string {
	for path, items := range sim.Variables() {
		if strings.HasPrefix(path, "default/serai/claims/") {
			return items[host+" host"]
		}
	}
	return ""
}

func untilRecorded(t *testing.T, sim *nomadsim.Sim, host, want string) {
	t.Helper()
	until(t, "the record "+want, func() bool { return recorded(sim, host) == want })
}

const contestedHost = "shop.example.org"

// TestOneHolderOnEveryNode: through restarts, redeploys of holder and rival, and
// a restored state of Nomad, no request reaches the wrong team.
func TestOneHolderOnEveryNode(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	a := newTeam(t, sim, "team-a", "ingress.host="+contestedHost)
	b := newTeam(t, sim, "team-b", "ingress.host="+contestedHost)
	a.come()
	var nodes []*ingress
	for range 3 {
		nodes = append(nodes, newIngress(t, url))
	}
	for _, n := range nodes {
		n.serves(contestedHost, "team-a")
	}
	b.come()
	untilRecorded(t, sim, contestedHost, "team-a/* team-b/*")
	saved := sim.Save()

	var right, wrong, failed, refused atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for _, n := range nodes {
		for range 2 {
			clients.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					switch n.asks(contestedHost) {
					case "team-a":
						right.Add(1)
						time.Sleep(time.Millisecond) // others have work to do, too
					case "team-b":
						wrong.Add(1)
					case "0": // it restarts
						refused.Add(1)
						time.Sleep(5 * time.Millisecond)
					default:
						failed.Add(1)
					}
				}
			})
		}
	}
	restarts := 50
	if testing.Short() {
		restarts = 10
	}
	for i := range restarts {
		var gap time.Duration
		if i%3 == 0 {
			gap = 100 * time.Millisecond
		}
		var changes sync.WaitGroup
		changes.Go(func() {
			a.redeploy(gap)
			if i%4 == 0 {
				b.redeploy(0)
			}
			if i == restarts/2 {
				sim.Restore(saved, false)
				// What runs is registered again by its client.
				a.come()
				b.come()
			}
		})
		n := nodes[i%len(nodes)]
		n.restart()
		n.serves(contestedHost, "team-a")
		changes.Wait()
	}
	until(t, "a thousand answers", func() bool { return right.Load() >= 1000 })
	close(stop)
	clients.Wait()
	t.Logf("%d restarts: %d requests reached the holder, %d the rival, %d were answered by serai itself, %d connections were refused or cut by a restart",
		restarts, right.Load(), wrong.Load(), failed.Load(), refused.Load())
	if wrong.Load() > 0 {
		t.Errorf("%d requests reached the wrong team, %d the right one", wrong.Load(), right.Load())
	}
	if writes := metric(nodes[0].admin, "serai_claims_writes_total"); writes == "" {
		t.Error("the writes are not counted")
	}

	// The holder ends: all nodes hand over alike, and the contest is forgotten.
	sim.PurgeJob(a.name, "shop-team-a")
	sim.DeregisterAll(func(r nomad.Registration) bool { return r.Namespace == a.name })
	for _, n := range nodes {
		n.serves(contestedHost, "team-b")
	}
	untilRecorded(t, sim, contestedHost, "")
	// Who comes back comes last.
	a.put(1)
	a.come()
	untilRecorded(t, sim, contestedHost, "team-b/* team-a/*")
	nodes[0].restart()
	nodes[0].serves(contestedHost, "team-b")
}

// TestContestWhileNomadIsAway: what was agreed outlives a restart without Nomad.
func TestContestWhileNomadIsAway(t *testing.T) {
	t.Parallel()
	sim, url, away := nomadtest.Simulator(t)
	a := newTeam(t, sim, "team-a", "ingress.host="+contestedHost)
	b := newTeam(t, sim, "team-b", "ingress.host="+contestedHost)
	a.come()
	n := newIngress(t, url, "--state-dir="+t.TempDir())
	n.serves(contestedHost, "team-a")
	b.come()
	untilRecorded(t, sim, contestedHost, "team-a/* team-b/*")
	a.redeploy(0)
	until(t, "the new instance", func() bool {
		_, body := get(n.admin, "localhost", "/instances")
		return strings.Contains(body, "team-a-2") && !strings.Contains(body, "team-a-1")
	})
	n.p.stop()
	if err := n.p.wait(t); err != nil {
		t.Fatal(err)
	}
	away()
	n.run()
	until(t, "an answer", func() bool { return strings.HasPrefix(n.asks(contestedHost), "team-") })
	if got := n.asks(contestedHost); got != "team-a" {
		t.Errorf("without Nomad %s answers", got)
	}
}

// TestContestWithoutTheRight is served as before, told everywhere, and recorded
// once the right is there.
func TestContestWithoutTheRight(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	sim.SetACL(true)
	token := nomadsim.Token{Secret: "s", Rules: []nomadsim.Rule{{Namespace: "*", Capabilities: []string{"read-job"}}}}
	sim.PutToken(token)
	a := newTeam(t, sim, "team-a", "ingress.host="+contestedHost)
	b := newTeam(t, sim, "team-b", "ingress.host="+contestedHost)
	a.come()
	b.come()
	n := newIngress(t, url)
	n.p.stop()
	n.p.wait(t)
	n.env["NOMAD_TOKEN"] = "s"
	n.run()
	n.serves(contestedHost, "team-a")
	until(t, "the rejection", func() bool {
		_, body := get(n.admin, "localhost", "/rejections")
		return strings.Contains(body, "is not recorded (no right to read and write variable serai/claims/ingress)")
	})
	until(t, "the policy", func() bool { return strings.Contains(n.p.stderr.String(), `path "serai/*"`) })
	if got := metric(n.admin, `serai_claims_contests{recorded="no"}`); !strings.HasSuffix(got, " 1\n") {
		t.Errorf("the metric says %q contests are not recorded", got)
	}
	token.Rules = append(token.Rules, nomadsim.Rule{Namespace: "default", Capabilities: []string{"read-job"},
		Variables: map[string][]string{"serai/*": {"read", "list", "write", "destroy"}}})
	sim.PutToken(token)
	untilRecorded(t, sim, contestedHost, "team-a/* team-b/*")
	until(t, "no complaint", func() bool {
		_, body := get(n.admin, "localhost", "/rejections")
		return strings.Contains(body, "namespace team-a") && !strings.Contains(body, "not recorded")
	})
}

// TestOneHostOfTwoNamespaces: another namespace gets nothing of a held host, unless
// the operator's file shares it, or --shared-hosts lets all.
func TestOneHostOfTwoNamespaces(t *testing.T) {
	sim, url, _ := nomadtest.Simulator(t)
	a := newTeam(t, sim, "team-a", "ingress.host="+contestedHost)
	a.come()
	n := newIngress(t, url)
	n.serves(contestedHost, "team-a")
	b := newTeam(t, sim, "team-b", "ingress.host="+contestedHost, "ingress.path=/login", "ingress.all.host=*", "ingress.all.priority=9", "ingress.ca.host=*", "ingress.ca.path=/.well-known/acme-challenge")
	b.come()
	n.serves("nobodys.example.org", "team-b")
	for _, path := range []string{"/", "/login"} {
		if _, body := get(n.traffic, contestedHost, path); !strings.HasPrefix(body, "team-a") {
			t.Errorf("%s is answered with %q", path, body)
		}
	}
	if status, _ := get(n.traffic, "nobodys.example.org", "/.well-known/acme-challenge/x"); status != 404 {
		t.Errorf("a challenge for nobody's host is answered with %d", status)
	}
	_, refused := get(n.admin, "localhost", "/rejections")
	for _, want := range []string{"is held by namespace team-a", `share \"` + contestedHost + `\" { namespaces = [`, "/.well-known/acme-challenge is the operator's"} {
		if !strings.Contains(refused, want) {
			t.Errorf("%q is not among the rejections: %s", want, refused)
		}
	}
	if got := metric(n.admin, `serai_quota_used{quota="claims"}`); !strings.HasSuffix(got, " 3\n") {
		t.Errorf("the metric says %q", got)
	}
	config := filepath.Join(t.TempDir(), "serai.hcl")
	if err := os.WriteFile(config, []byte("share \""+contestedHost+"\" {\n  namespaces = [\"team-a\", \"team-b\"]\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--config=" + config, "--shared-hosts"} {
		other := newIngress(t, url, flag)
		until(t, "the login of team-b with "+flag, func() bool {
			_, body := get(other.traffic, contestedHost, "/login")
			return strings.HasPrefix(body, "team-b")
		})
	}
}

// TestHolderThatIsGone: how a holder's end is told from its redeploy. The
// lingering and the wait are longer than the test, so that only the job's end
// can end them.
func TestHolderThatIsGone(t *testing.T) {
	for _, tc := range []struct {
		name string
		ends bool
		do   func(sim *nomadsim.Sim, a *team)
	}{
		{"purged", true, func(sim *nomadsim.Sim, a *team) { sim.PurgeJob(a.name, "shop-team-a") }},
		{"stopped", true, func(sim *nomadsim.Sim, a *team) {
			sim.PutJob(nomadsim.Job{Namespace: a.name, ID: "shop-team-a", Stopped: true, Groups: []nomadsim.Group{{Name: "web", Count: 1, Services: []nomad.JobService{{Name: "shop", Tags: a.tags}}}}})
		}},
		{"scaled to zero", true, func(_ *nomadsim.Sim, a *team) { a.put(0) }},
		{"renamed service", true, func(sim *nomadsim.Sim, a *team) {
			sim.PutJob(nomadsim.Job{Namespace: a.name, ID: "shop-team-a", Groups: []nomadsim.Group{{Name: "web", Count: 1, Services: []nomad.JobService{{Name: "other", Tags: []string{"ingress.host=other.example.org"}}}}}})
		}},
		{"host removed", true, func(_ *nomadsim.Sim, a *team) { a.tags = nil; a.put(1) }},
		{"redeploy with a gap", false, func(*nomadsim.Sim, *team) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sim, url, _ := nomadtest.Simulator(t)
			a := newTeam(t, sim, "team-a", "ingress.host="+contestedHost, "ingress.wait=10m")
			b := newTeam(t, sim, "team-b", "ingress.host="+contestedHost)
			a.come()
			n := newIngress(t, url, "--linger=10m")
			n.serves(contestedHost, "team-a")
			if !tc.ends {
				b.come()
				until(t, "the rival", func() bool {
					_, body := get(n.admin, "localhost", "/rejections")
					return strings.Contains(body, "team-b")
				})
				a.goAway()
				until(t, "a question about the job", func() bool { return sim.Counts().Requests[nomad.KindJob] > 0 })
				a.come()
				n.serves(contestedHost, "team-a")
				return
			}
			// Without a rival, a request that waits is answered.
			tc.do(sim, a)
			a.goAway()
			until(t, "the end", func() bool { return n.asks(contestedHost) == "503" || n.asks(contestedHost) == "404" })
			if asked := sim.Counts().Requests[nomad.KindJob]; asked > 3 {
				t.Errorf("Nomad was asked about jobs %d times", asked)
			}
			// With one, it takes over.
			a.tags = []string{"ingress.host=" + contestedHost, "ingress.wait=10m"}
			a.address.Tags = a.tags
			a.put(1)
			a.come()
			n.serves(contestedHost, "team-a")
			b.come()
			until(t, "the rival", func() bool {
				_, body := get(n.admin, "localhost", "/rejections")
				return strings.Contains(body, "team-b")
			})
			tc.do(sim, a)
			a.goAway()
			n.serves(contestedHost, "team-b")
		})
	}
}

// TestRenamedServiceLosesNoRequest: a rival waits behind the old name; the new
// name's instance comes before the old one goes, or a while after.
func TestRenamedServiceLosesNoRequest(t *testing.T) {
	for _, gap := range []bool{false, true} {
		t.Run(fmt.Sprint("gap ", gap), func(t *testing.T) {
			t.Parallel()
			sim, url, _ := nomadtest.Simulator(t)
			a := newTeam(t, sim, "team-a", "ingress.host="+contestedHost)
			b := newTeam(t, sim, "team-b", "ingress.host="+contestedHost)
			a.come()
			n := newIngress(t, url)
			n.serves(contestedHost, "team-a")
			b.come()
			untilRecorded(t, sim, contestedHost, "team-a/* team-b/*")

			asked := make(chan struct{})
			stop := make(chan struct{})
			var client sync.WaitGroup
			client.Go(func() {
				for first := true; ; first = false {
					if got := n.asks(contestedHost); got != "team-a" {
						t.Errorf("a request was answered by %s", got)
					}
					if first {
						close(asked)
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
			<-asked
			sim.PutJob(nomadsim.Job{Namespace: a.name, ID: "shop-team-a", Groups: []nomadsim.Group{{Name: "web", Count: 1, Services: []nomad.JobService{{Name: "store", Tags: a.tags}}}}})
			if gap {
				before := sim.Counts().Requests[nomad.KindJob]
				a.goAway()
				until(t, "a question about the job", func() bool { return sim.Counts().Requests[nomad.KindJob] > before })
			}
			r := a.address
			r.Namespace, r.ServiceName, r.JobID, r.ID = a.name, "store", "shop-team-a", "store-1"
			sim.Register(r)
			if !gap {
				until(t, "the new name", func() bool {
					_, body := get(n.admin, "localhost", "/rejections")
					return strings.Contains(body, "team-a/store") || strings.Contains(body, `"service": "store"`)
				})
				a.goAway()
			}
			until(t, "the end of the old name", func() bool {
				_, body := get(n.admin, "localhost", "/routes")
				return strings.Contains(body, "store") && !strings.Contains(body, `"shop"`)
			})
			untilRecorded(t, sim, contestedHost, "team-a/* team-b/*")
			close(stop)
			client.Wait()
			if got := n.asks(contestedHost); got != "team-a" {
				t.Errorf("in the end %s answers", got)
			}
		})
	}
}

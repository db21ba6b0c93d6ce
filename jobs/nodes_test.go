package jobs_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/admin"
	"serai/internal/netns"
	"serai/tls/acme/acmetest"
)

// TestACMEIsSwitchedOnOnThreeNodes runs serai's own job on three real clients,
// with ACLs and the policy as the README has it, at first without ACME, and then
// lets Nomad roll the flag that switches it on over them. The CA asks another
// node with each question, and an application answers for every host: no
// validation may come to a node that passes it on, so nothing is ordered, and the
// wait is told, until the last node answers.
func TestACMEIsSwitchedOnOnThreeNodes(t *testing.T) {
	c := newClusterOn(t, true, 3)
	c.settle()
	c.job("serai.raw_exec")
	hosts := []string{"dynamic.example.org", "shop.team-a.example.org"}
	var addresses []string
	for _, s := range c.network.Spaces {
		addresses = append(addresses, s.Address)
		c.traffic = "http://" + s.Address
		for _, host := range hosts {
			c.reaches(host, "/", "web")
		}
	}
	ca := acmetest.New(t, acmetest.Options{Offer: "http-01", HTTP: ":80", TLS: ":443", Nodes: addresses, Listen: c.network.Host})
	flags, err := json.Marshal([]string{"--acme-email=ops@example.org", "--acme-directory=" + ca.Directory, "--acme-ca-root=" + ca.RootFile})
	if err != nil {
		t.Fatal(err)
	}
	seen := c.watchTheWait(ca, func() { c.job("serai.raw_exec", "args="+string(flags)) })
	if !slices.Contains(seen.counts, 2) || !slices.Contains(seen.counts, 1) {
		t.Errorf("the wait was told of %v nodes, want 2 and then 1", seen.counts)
	}
	for _, address := range addresses {
		for _, host := range hosts {
			c.until("a certificate for "+host+" on "+address, func() bool { return certified(ca, address, host) })
		}
	}
	for _, host := range hosts {
		if n := ca.Orders(host); n != 1 {
			t.Errorf("%s was ordered %d times", host, n)
		}
	}
	if n := ca.Failed(); n != 0 {
		t.Errorf("%d authorizations failed", n)
	}
	if n := seen.early.Load(); n > 0 {
		t.Errorf("%d orders were made while a node passes validations on", n)
	}
	t.Logf("%d orders, the first after %v, %d authorizations failed; waited for, as /certificates told: %v nodes",
		ca.AllOrders(), seen.ordered.Round(time.Second), ca.Failed(), seen.counts)
	c.onlyWaited()
}

// wait is what was seen of one.
type wait struct {
	counts  []int         // how many nodes were told to be waited for, without repetitions
	early   atomic.Int64  // orders while not every node had ACME on
	ordered time.Duration // from the start to the first order
}

// watchTheWait follows a roll of serai's job until something has been ordered.
func (c *cluster) watchTheWait(ca *acmetest.CA, roll func()) *wait {
	c.t.Helper()
	seen := &wait{}
	ca.Fail(func(_ http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "order-plz") && c.switched() < len(c.network.Spaces) {
			seen.early.Add(1)
		}
	})
	roll()
	for began := time.Now(); ca.AllOrders() == 0; time.Sleep(100 * time.Millisecond) {
		if seen.ordered = time.Since(began); seen.ordered > 10*time.Minute {
			c.t.Fatalf("nothing was ordered; waited for: %v; the end of the agents' log:\n%s", seen.counts, c.log())
		}
		for _, s := range c.network.Spaces {
			all := certificatesOf(s)
			if all == nil || all.Obtained == nil || all.Obtained.Waiting == nil {
				continue
			}
			if n := all.Obtained.Waiting.Count; len(seen.counts) == 0 || seen.counts[len(seen.counts)-1] != n {
				seen.counts = append(seen.counts, n)
			}
		}
	}
	return seen
}

// switched counts the nodes whose serai runs with ACME.
func (c *cluster) switched() (n int) {
	for _, s := range c.network.Spaces {
		if all := certificatesOf(s); all != nil && all.Obtained != nil {
			n++
		}
	}
	return n
}

// onlyWaited fails where a serai warns of anything but the wait.
func (c *cluster) onlyWaited() {
	c.t.Helper()
	for _, a := range c.allocations("serai") {
		log := c.run("alloc", "logs", "-stderr", a.ID)
		log = strings.ReplaceAll(log, `level=WARN msg="orders wait until every serai answers`, "")
		if strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
			c.t.Errorf("serai is not content:\n%s", log)
		}
	}
}

// certificatesOf asks the admin listener of a node, which is on its loopback; nil
// when it does not answer.
func certificatesOf(s *netns.Space) *admin.Certificates {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DialContext: s.Dial, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8081/certificates", nil)
	if err != nil {
		return nil
	}
	res, err := client.Do(r)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var all admin.Certificates
	if json.NewDecoder(res.Body).Decode(&all) != nil {
		return nil
	}
	return &all
}

// certified reports whether a node has a certificate of the CA for a host.
func certified(ca *acmetest.CA, address, host string) bool {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", net.JoinHostPort(address, "443"), &tls.Config{ServerName: host, RootCAs: ca.Roots()})
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

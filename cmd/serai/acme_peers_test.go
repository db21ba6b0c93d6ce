package main

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadtest"
	"serai/tls/acme/acmetest"
)

// registration is what Nomad says of a serai's allocation.
func (n *node) registration(alloc string) nomad.Registration {
	at := netip.MustParseAddrPort(n.http)
	return nomad.Registration{
		ID: "_nomad-task-" + alloc + "-group-serai-serai-http", ServiceName: "serai", Namespace: "default",
		AllocID: alloc, JobID: "serai", Address: at.Addr().String(), Port: int(at.Port()),
	}
}

// TestOrdersWaitForOldFlags switches ACME on, one serai after the other, while the
// application answers validations that reach a serai with old flags: nothing is
// ordered before the last one is switched, which is told, and no validation
// fails.
func TestOrdersWaitForOldFlags(t *testing.T) {
	t.Parallel()
	const host = "a.example.org"
	sim, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
	services := servicesFile(t, host, "b.example.org", "c.example.org")
	env := []string{"NOMAD_ADDR=" + url}
	nodes := newNodes(t, ca, 3)
	for i, n := range nodes {
		sim.Register(n.registration("old-" + string('a'+rune(i))))
		n.start(env, "--services="+services)
	}
	replace := func(i int) {
		n, name := nodes[i], string('a'+rune(i))
		sim.StopAlloc("old-" + name)
		n.kill(syscall.SIGTERM)
		sim.Register(n.registration("new-" + name))
		n.run(env, append(acmeFlags(ca, services), "--cert-store=nomad")...)
	}
	replace(0)
	first := nodes[0]
	until(t, "the wait to be told", func() bool {
		o := first.certificates().Obtained
		if o == nil || o.Waiting == nil {
			return false
		}
		told := ""
		for _, p := range o.Waiting.Peers {
			told += p.Address + " " + p.Error + "\n"
		}
		return o.Waiting.Count == 2 && strings.Contains(told, nodes[1].http+" passes validations on to the application") && strings.Contains(told, nodes[2].http)
	})
	replace(1)
	until(t, "the wait for the last one alone", func() bool {
		o := first.certificates().Obtained
		return o != nil && o.Waiting != nil && o.Waiting.Count == 1 && o.Waiting.Peers[0].Address == nodes[2].http
	})
	if _, metrics := get(first.admin, "", "/metrics"); !strings.Contains(metrics, "\nserai_certificate_peers_awaited 1\n") {
		t.Error("the metric does not tell of the wait")
	}
	until(t, "the log to tell of the wait", func() bool {
		return strings.Contains(first.output.String(), "orders wait until every serai answers")
	})
	if n := ca.AllOrders(); n != 0 {
		t.Errorf("%d orders were made while a serai passes validations on", n)
	}
	replace(2)
	for _, n := range nodes {
		until(t, "a certificate", func() bool { return n.serial(host) != "" && n.serial("c.example.org") != "" })
	}
	if n := ca.Failed(); n != 0 {
		t.Errorf("%d authorizations failed", n)
	}
	if o := first.certificates().Obtained; o.Waiting != nil {
		t.Errorf("still waiting: %+v", o.Waiting)
	}
}

// TestOrdersGoOnWithoutADeadSerai: one that is registered and does not answer costs
// the time that the operator gives, once.
func TestOrdersGoOnWithoutADeadSerai(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{})
	n := newNodes(t, ca, 2)
	sim.Register(n[0].registration("alive"), n[1].registration("dead"))
	n[0].start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, servicesFile(t, "a.example.org")), "--cert-store=nomad", "--acme-peers-wait=3s")...)
	began := time.Now()
	until(t, "a certificate", func() bool { return n[0].serial("a.example.org") != "" })
	if waited := time.Since(began); waited < 2*time.Second {
		t.Errorf("the order waited %v", waited)
	}
	if out := n[0].output.String(); !strings.Contains(out, "although not every serai answers validations") || !strings.Contains(out, "connection refused") {
		t.Error("the log does not warn")
	}
}

package discovery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/consul"
	"serai/consul/consulsim"
	"serai/discovery"
)

// TestConsulAfterAnElection: once there is a leader again, of services without a query of their
// own only those are read that have changed, as the lists tell; all are, after the agent itself
// was away.
func TestConsulAfterAnElection(t *testing.T) {
	t.Parallel()
	const services = 300
	a, w := faultyConsul(t, discovery.ConsulOptions{Ping: 50 * time.Millisecond, Watches: 4})
	name := func(n int) string { return fmt.Sprint("s", n) }
	put := func(n int, id, state string) {
		t.Helper()
		if _, err := a.Register(consulsim.Registration{
			Node: "n1", Address: nodeAddress, Service: &consulsim.Service{ID: id, Service: name(n), Tags: []string{ours}, Port: 80},
			Check: &consulsim.Check{CheckID: "service:" + id, Name: "works", Status: state, ServiceID: id},
		}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(n int, id string) string { return inConsul(name(n), "n1", id) }
	all := []string{inConsul("web", "n1", "1")}
	for n := range services {
		put(n, name(n), consul.Passing)
		all = append(all, is(n, name(n)))
	}
	w.has(all...)
	known := w.count()
	reads := func() int { return a.Counts().Requests["health/service"] }
	// settled waits until nothing is read any more.
	settled := func() int {
		last := -1
		for n := reads(); n != last; n = reads() {
			last = n
			time.Sleep(500 * time.Millisecond)
		}
		return last
	}
	// noticed is so once the question who leads was in vain.
	noticed := func(s discovery.Status) bool { return strings.Contains(s.Problem, "ask who leads") }
	lose := func(meanwhile func()) (read int) {
		t.Helper()
		before := settled()
		a.SetLeader(false)
		w.until("the loss", noticed)
		meanwhile()
		a.SetLeader(true)
		w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" })
		return settled() - before
	}
	if n := lose(func() { put(100, name(100), consul.Critical) }); n > services/3 {
		t.Errorf("%d services were read, of which one had changed", n)
	}
	w.unfit(is(100, name(100)), "critical in Consul")
	// An instance that comes, or goes, moves the list.
	lose(func() { put(101, "another", consul.Passing) })
	w.has(append(slices.Clone(all), is(101, "another"))...)
	lose(func() {
		if _, err := a.Deregister(consulsim.Deregistration{Node: "n1", ServiceID: "another"}); err != nil {
			t.Fatal(err)
		}
	})
	w.has(all...)
	before := settled()
	a.stop()
	w.until("silence", noticed)
	a.start()
	w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" })
	if n := settled() - before; n < services {
		t.Errorf("%d services were read after the agent was away", n)
	}
	for _, ids := range w.since(known) {
		for _, id := range all {
			if !slices.Contains(ids, id) {
				t.Fatalf("a snapshot of %d instances lacks %s", len(ids), id)
			}
		}
	}
}

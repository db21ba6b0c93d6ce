package admin_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"serai/admin"
	"serai/discovery"
	"serai/internal/testnet"
	"serai/router"
	"serai/upstream"
)

func all[T any](of []T, is func(T) bool) bool {
	return !slices.ContainsFunc(of, func(x T) bool { return !is(x) })
}

// TestEndpointsOfServicesThatShare: serai_endpoints counts each instance as the table and the registry have it: instances that
// services share, services that were not called or have no series of their own, instances that are not ready.
func TestEndpointsOfServicesThatShare(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open, closed := l.Addr().(*net.TCPAddr).Port, testnet.Ports(t, 1)[0]
	const services, instances, dead = 6, 4, 3
	type series struct{ service, state string }
	for round := range 10 {
		n := newNode(t, admin.Options{MetricsRoutes: 1 + round%3}, router.Options{Linger: -1})
		n.probe()
		for s := range services {
			name := fmt.Sprint("s", s)
			var of []*discovery.Instance
			for i := range instances {
				if rand.IntN(2) == 0 {
					continue
				}
				x := instance(fmt.Sprintf("ingress.host=%s.example.org", name))
				x.Address, x.Port, x.Alloc, x.Job = "127.0.0.1", open, fmt.Sprint("alloc-", i), "job"
				if i == dead {
					x.Port = closed
				}
				of = append(of, x)
			}
			if len(of) == 0 {
				continue
			}
			if n.set(name, of...); rand.IntN(2) == 0 {
				call(n.stats(name), 200)
			}
		}
		ready := func(e *upstream.Endpoint) bool {
			return e.Target().Address != l.Addr().String() || e.State() == upstream.Ready
		}
		for end := time.Now().Add(time.Minute); !all(n.registry.All(), ready); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("not all instances became ready")
			}
		}
		got, named := make(map[series]int), make(map[string]bool)
		for _, m := range n.scrape()["serai_endpoints"].Metric {
			labels := make(map[string]string)
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			named[labels["service"]] = true
			got[series{labels["service"], labels["state"]}] += int(m.Gauge.GetValue())
		}
		want, told := make(map[series]int), make(map[*upstream.Endpoint]bool)
		for _, r := range n.router.Current().Routes() {
			for _, m := range r.Pool.Members() {
				if named[r.Service] {
					told[m.Endpoint] = true
					want[series{r.Service, m.Endpoint.State().String()}]++
				}
			}
		}
		for _, e := range n.registry.All() {
			if !told[e] {
				want[series{"", e.State().String()}]++
			}
		}
		for s := range got {
			if want[s] != got[s] {
				t.Errorf("round %d: %v is %d, want %d", round, s, got[s], want[s])
			}
		}
		for s, n := range want {
			if _, there := got[s]; !there {
				t.Errorf("round %d: %v is missing, want %d", round, s, n)
			}
		}
	}
}

package admin_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"serai/admin"
	"serai/internal/testnet"
	"serai/router"
)

// TestEndpointsByService: a service has series of its own when it has been called or
// lacks a ready instance; all others are summed, and a service that is gone has none.
func TestEndpointsByService(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{Linger: -1})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, name := range []string{"calm", "called"} {
		i := instance("ingress.host=" + name + ".example.org")
		i.Address, i.Port = "127.0.0.1", l.Addr().(*net.TCPAddr).Port
		n.set(name, i)
	}
	down := instance("ingress.host=down.example.org")
	down.Address, down.Port = "127.0.0.1", testnet.Ports(t, 1)[0]
	n.set("down", down)
	call(n.stats("called"), 200)
	want := func(service, state string, count int) bool {
		namespace := "default"
		if service == "" {
			namespace = ""
		}
		line := fmt.Sprintf("serai_endpoints{namespace=%q,service=%q,state=%q} %d\n", namespace, service, state, count)
		return strings.Contains(n.metric("serai_endpoints{"), line)
	}
	if !want("calm", "probing", 1) || !want("called", "ready", 0) || !want("down", "probing", 1) || !want("down", "ready", 0) {
		t.Errorf("before the first probe:\n%s", n.metric("serai_endpoints{"))
	}
	n.probe()
	for end := time.Now().Add(30 * time.Second); !want("", "ready", 1) || !want("called", "ready", 1); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for the instances to be ready:\n%s", n.metric("serai_endpoints{"))
		}
	}
	if got := n.metric("serai_endpoints{"); strings.Contains(got, `"calm"`) || !want("down", "probing", 1) {
		t.Errorf("a service that nobody has called is told of, or one without a ready instance is not:\n%s", got)
	}
	n.set("down")
	if got := n.metric("serai_endpoints{"); strings.Contains(got, `"down"`) {
		t.Errorf("a service that has gone is told of:\n%s", got)
	}
}

// TestQuietServicesAreBounded: when no instance is reached, not every service has
// series of its own, and none is missing in the sum.
func TestQuietServicesAreBounded(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	for i := range 1100 {
		inst := instance(fmt.Sprintf("ingress.host=h%d.example.org", i))
		inst.Alloc = fmt.Sprint("alloc-", i)
		n.set(fmt.Sprint("s", i), inst)
	}
	named, sum := 0, 0.0
	for _, m := range n.scrape()["serai_endpoints"].Metric {
		sum += m.Gauge.GetValue()
		for _, l := range m.Label {
			if l.GetName() == "service" && l.GetValue() != "" {
				named++
			}
		}
	}
	if named != 3*1000 || sum != 1100 {
		t.Errorf("%d lines of services with %v instances, want 3000 and 1100", named, sum)
	}
}

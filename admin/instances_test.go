package admin_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"serai/admin"
	"serai/discovery"
	"serai/internal/testnet"
	"serai/router"
	"serai/upstream"
)

// TestInstances shows the states.
func TestInstances(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	n.probe()
	up, down := port(t, true), port(t, false)
	n.set("web", up("web-up", "ingress.host=web.example.org,www.example.org", "ingress.x.host=web.example.org", "ingress.x.path=/x"),
		down("web-down", "ingress.host=web.example.org"))
	n.set("other", down("other", "ingress.host=web.example.org")) // held: no route uses it
	n.set("third", up("third", "ingress.host=third.example.org"))
	var all []admin.Instance
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		n.read("/instances", &all)
		decided := 0 // ready, or probed without success
		for _, i := range all {
			if i.State == "ready" || i.Cause != "" {
				decided++
			}
		}
		if decided == 4 {
			break
		}
		if time.Now().After(end) {
			break
		}
	}
	byID := make(map[string]admin.Instance)
	for _, i := range all {
		byID[i.ID] = i
	}
	if i := byID["web-up"]; i.State != "ready" || i.Cause != "" || len(i.Routes) != 3 || i.Service != "web" || i.Namespace != "default" || time.Since(i.Since) > time.Minute {
		t.Errorf("the instance that is there: %+v", i)
	}
	if i := byID["web-down"]; i.State != "probing" || i.Cause == "" || len(i.Routes) != 1 {
		t.Errorf("the instance that is not: %+v", i)
	}
	if i := byID["other"]; i.Service != "" || len(i.Routes) != 0 || i.Routes == nil {
		t.Errorf("the instance without a route: %+v", i)
	}
	for path, want := range map[string]int{"/instances?service=web": 2, "/instances?namespace=default": 3, "/instances?namespace=x": 0, "/instances?service=third&namespace=default": 1} {
		if n.read(path, &all); len(all) != want {
			t.Errorf("%s has %d instances, want %d", path, len(all), want)
		}
	}
	for _, r := range n.router.Current().Routes() {
		r.Pool.End(time.Now(), r.Pool.Members()[0], upstream.Outcome{FirstByte: 3 * time.Millisecond, Status: 200})
	}
	if n.read("/instances?service=third", &all); all[0].Requests != 1 || all[0].LatencyMS <= 0 || all[0].LatencyMS > 3 {
		t.Errorf("a request that took 3 ms: %+v", all[0])
	}
}

// TestUnfitInstance: an instance whose source says that it takes no requests is told as such,
// although it accepts connections.
func TestUnfitInstance(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	instance := &discovery.Instance{Address: "10.0.0.1", Port: 80, Tags: []string{"ingress.host=web.example.org"}}
	told := func(want string) {
		t.Helper()
		var all []admin.Instance
		if n.read("/instances", &all); len(all) != 1 || all[0].Unfit != want {
			t.Errorf("/instances has %+v, want unfit %q", all, want)
		}
		for _, page := range []string{"/ui/instances", "/ui/route?host=web.example.org"} {
			if _, text := n.get(page); strings.Contains(text, "takes no requests: maintenance") != (want != "") {
				t.Errorf("%s, unfit %q: %s", page, want, text)
			}
		}
	}
	n.set("web", instance)
	told("")
	out := *instance
	out.Unfit = "maintenance in Consul"
	n.set("web", &out)
	told(out.Unfit)
}

// port makes instances of an address on which something listens, or nothing.
func port(t *testing.T, open bool) func(id string, tags ...string) *discovery.Instance {
	t.Helper()
	number := testnet.Ports(t, 1)[0] // no other process listens on it by chance
	if open {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", number))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	return func(id string, tags ...string) *discovery.Instance {
		return &discovery.Instance{ID: id, Address: "127.0.0.1", Port: number, Tags: tags}
	}
}

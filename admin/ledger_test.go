package admin_test

import (
	"strings"
	"testing"
	"time"

	"serai/admin"
	"serai/router"
)

// total returns the line of a route's answered requests, empty when there is none.
func (n *node) total(service, route string) string {
	n.Helper()
	line := n.metric(`serai_requests_total{class="2xx",namespace="default",route="` + route + `",service="` + service + `"} `)
	return strings.TrimSpace(line[strings.LastIndex(line, " ")+1:])
}

func (n *node) wantTotal(service, route, want, when string) {
	n.Helper()
	if got := n.total(service, route); got != want {
		n.Errorf("%s: route %q of %s has counted %q, want %q", when, route, service, got, want)
	}
}

// TestCountersStay while their service exists, whatever happens to its routes.
func TestCountersStay(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{Linger: time.Minute})
	plain, named := instance("ingress.host=a.example.org"), instance("ingress.host=a.example.org", "ingress.x.host=x.example.org")
	n.wantTotal("web", "", "", "before all")
	n.set("web", named)
	n.wantTotal("web", "", "", "before the first request")
	call(n.stats("web"), 200)
	var x *router.Stats
	for _, r := range n.router.Current().Routes() {
		if r.Name == "x" {
			x = r.Stats
		}
	}
	call(x, 200)
	n.wantTotal("web", "", "1", "after a request")
	n.wantTotal("web", "x", "1", "after a request")

	n.set("web", plain)
	n.wantTotal("web", "x", "1", "when a deploy has taken the route away")
	call(x, 200) // was still in flight
	n.wantTotal("web", "x", "2", "when its last request ended")
	again := *named
	n.set("web", &again)
	for _, r := range n.router.Current().Routes() {
		if r.Name == "x" && r.Stats == x {
			t.Fatal("the route has its old counters: this test shows nothing")
		} else if r.Name == "x" {
			call(r.Stats, 200)
		}
	}
	n.wantTotal("web", "x", "3", "when the next deploy has brought it back")

	n.set("web")
	n.wantTotal("web", "", "1", "while it lingers")
	n.now = n.now.Add(2 * time.Minute)
	n.builder.Expire()
	n.wantTotal("web", "", "", "when the service has gone")
	n.wantTotal("web", "x", "", "when the service has gone")
	n.set("web", plain)
	n.wantTotal("web", "x", "", "when a service of its name comes")
}

// TestCountersStayWhenHeld: an older claim takes the only host of a service, which is
// rejected from then on but still exists.
func TestCountersStayWhenHeld(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	n.set("old", instance("ingress.host=old.example.org"))
	n.set("web", instance("ingress.host=web.example.org"))
	call(n.stats("web"), 200)
	n.wantTotal("web", "", "1", "at first")
	n.index = 0 // the claim of an instance is as old as the instance
	n.set("old", instance("ingress.host=old.example.org,web.example.org"))
	if _, body := n.get("/rejections?service=web"); !strings.Contains(body, "held by default/old") {
		t.Fatalf("the host is not taken, this test shows nothing: %s", body)
	}
	n.wantTotal("web", "", "1", "when its host is held")
	if got := n.metric("serai_routes "); got != "serai_routes 2\n" {
		t.Errorf("a route that takes no request counts: %s", got)
	}
}

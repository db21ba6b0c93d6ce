package admin_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"serai/admin"
	"serai/discovery"
	"serai/router"
)

// sums returns the requests of each namespace over all series, and how many series there
// are of the ones with a service.
func (n *node) sums() (sum map[string]int, own map[string]int) {
	n.Helper()
	sum, own = make(map[string]int), make(map[string]int)
	for line := range strings.Lines(n.metric(`serai_requests_total{class="2xx"`)) {
		_, after, _ := strings.Cut(line, `namespace="`)
		namespace, after, _ := strings.Cut(after, `"`)
		count, err := strconv.Atoi(strings.TrimSpace(after[strings.LastIndex(after, " ")+1:]))
		if err != nil {
			n.Fatal(err)
		}
		sum[namespace] += count
		if !strings.Contains(line, `service=""`) {
			own[namespace]++
		}
	}
	return sum, own
}

// TestManyRoutes: a team whose routes are all called does not make the page larger than
// its bound, takes no series of others, and no request is lost from the sums, also when
// routes go and come.
func TestManyRoutes(t *testing.T) {
	const limit, many = 40, 300
	n := newNode(t, admin.Options{MetricsRoutes: limit}, router.Options{Linger: time.Minute})
	register := func(namespace string, services int) {
		for i := range services {
			key := discovery.Key{Namespace: namespace, Name: fmt.Sprintf("s%d", i)}
			one := instance(fmt.Sprintf("ingress.host=s%d.%s.example.org", i, namespace))
			one.ID, one.Namespace, one.Service, one.Created, one.Modified = namespace+key.Name, namespace, key.Name, 1, 1
			n.known[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{one}}
		}
		n.publish()
	}
	callAll := func() {
		for _, r := range n.router.Current().Routes() {
			call(r.Stats, 200)
		}
	}
	expire := func() {
		n.publish()
		n.now = n.now.Add(2 * time.Minute)
		n.builder.Expire()
	}
	register("large", many)
	callAll()
	sum, own := n.sums()
	if sum["large"] != many || own["large"] == 0 || own["large"] > limit*3/4 {
		t.Fatalf("%d requests in %d series, want %d in at most %d", sum["large"], own["large"], many, limit*3/4)
	}
	if got := n.metric("serai_metrics_routes"); !strings.Contains(got, fmt.Sprintf("serai_metrics_routes %d\n", own["large"])) ||
		!strings.Contains(got, fmt.Sprintf("serai_metrics_routes_summed %d\n", many-own["large"])) || !strings.Contains(got, "serai_metrics_routes_limit 40\n") {
		t.Errorf("not told: %s", got)
	}
	register("small", 3)
	callAll()
	if sum, own = n.sums(); sum["small"] != 3 || own["small"] != 3 {
		t.Errorf("the small namespace has %d requests in %d series of its own, want 3 in 3", sum["small"], own["small"])
	}
	if sum["large"] != 2*many {
		t.Errorf("the large namespace has counted %d, want %d", sum["large"], 2*many)
	}

	// Half of the routes go: what those without a line have counted stays in the sum.
	summed := func() string {
		return n.metric(`serai_requests_total{class="2xx",namespace="large",route="",service=""}`)
	}
	before := summed()
	for i := range many / 2 {
		delete(n.known, discovery.Key{Namespace: "large", Name: fmt.Sprintf("s%d", i)})
	}
	expire()
	if after := summed(); before == "" || after != before {
		t.Errorf("the common series went from %q to %q", before, after)
	}
	register("large", many)
	callAll()
	if _, own = n.sums(); own["large"] > limit*3/4 || own["small"] != 3 {
		t.Errorf("in the end there are %v series", own)
	}
	for i := range many {
		delete(n.known, discovery.Key{Namespace: "large", Name: fmt.Sprintf("s%d", i)})
	}
	expire()
	if n.sums(); n.metric("serai_metrics_routes ") != "serai_metrics_routes 3\n" {
		t.Errorf("lines of services that have gone are not given back: %s", n.metric("serai_metrics_routes "))
	}
	if got := n.metric(`serai_endpoints{namespace="large"`); got != "" {
		t.Errorf("instances of services that have gone: %s", got)
	}
}

// TestManyEndpoints: services that were called have series of their instances up to the
// same bound.
func TestManyEndpoints(t *testing.T) {
	n := newNode(t, admin.Options{MetricsRoutes: 5}, router.Options{})
	for i := range 20 {
		n.set(fmt.Sprintf("s%02d", i), instance(fmt.Sprintf("ingress.host=s%d.example.org", i)))
		call(n.stats(fmt.Sprintf("s%02d", i)), 200)
	}
	got := n.metric(`serai_endpoints{`)
	if own := strings.Count(got, `state="probing"`) - 1; own != 5 {
		t.Errorf("%d services have series, want 5: %s", own, got)
	}
	if !strings.Contains(got, `serai_endpoints{namespace="",service="",state="probing"} 15`) {
		t.Errorf("the others are not counted: %s", got)
	}
}

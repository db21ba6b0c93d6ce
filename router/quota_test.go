package router_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/router"
)

// hostsOf are tags that claim n hosts.
func hostsOf(service string, n int, more ...string) []string {
	var hosts []string
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("h%d.%s.x", i, service))
	}
	return append([]string{"ingress.host=" + strings.Join(hosts, ",")}, more...)
}

// served counts the routes with instances by service.
func (w *world) served() string {
	counts := make(map[string]int)
	for _, r := range w.router.Current().Routes() {
		if !r.Lingers() {
			counts[r.Namespace+"/"+r.Service]++
		}
	}
	var list []string
	for name, n := range counts {
		list = append(list, fmt.Sprint(name, " ", n))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func (w *world) serves(want string) {
	w.t.Helper()
	if got := w.served(); got != want {
		w.t.Errorf("served: %s; want %s", got, want)
	}
}

var small = router.Options{Quotas: router.Quotas{
	Claims:     router.Limits{Service: 10, Namespace: 15, Total: 24},
	Conditions: router.Limits{Service: 4, Namespace: 6, Total: 8},
	Lingering:  router.Limits{Service: 5, Namespace: 8, Total: 9},
}}

// TestNewestIsRefused: within a service, a namespace, and all of them; existing claims
// stay, also through a redeploy, and freed ones go to the next.
func TestNewestIsRefused(t *testing.T) {
	w := newWorldWith(t, small)
	w.claims("n/one", hostsOf("one", 12)...)
	w.serves("n/one 10")
	w.refuses("n/one", "has its 10 claims", "--max-claims-service")
	w.claims("n/two", hostsOf("two", 8)...)
	w.serves("n/one 10, n/two 5")
	w.refuses("n/two", "the namespace has its 15 claims", "most are of service one", "--max-claims-namespace")
	w.claims("m/three", hostsOf("three", 8)...)
	w.claims("k/four", hostsOf("four", 8)...)
	w.serves("k/four 1, m/three 8, n/one 10, n/two 5")
	w.refuses("k/four", "all namespaces together have their 24 claims", "most are of namespace n", "--max-claims-total")
	// A redeploy of existing claims loses nothing to those that wait.
	w.claims("n/one", hostsOf("one", 12)...)
	w.claims("m/three", hostsOf("three", 8)...)
	w.serves("k/four 1, m/three 8, n/one 10, n/two 5")
	// What is freed goes to the next ones.
	w.claims("n/one", hostsOf("one", 3)...)
	w.serves("k/four 4, m/three 8, n/one 3, n/two 8") // the last one is spare
	for range 2 {
		w.now = w.now.Add(time.Minute)
		w.builder.Expire()
	}
	w.claims("m/three", hostsOf("three", 2)...)
	w.now = w.now.Add(time.Minute)
	w.builder.Expire()
	w.serves("k/four 8, m/three 2, n/one 3, n/two 8")
	for _, r := range w.router.Current().Rejections() {
		t.Errorf("still refused: %v", r)
	}
}

// TestQuotaIsTheSameEverywhere: a node that starts later, after a redeploy of the
// services that came in time, refuses the same as the others.
func TestQuotaIsTheSameEverywhere(t *testing.T) {
	w := newWorldWith(t, small)
	w.claims("n/first", hostsOf("first", 10)...)
	w.claims("n/late", hostsOf("late", 10)...)
	w.serves("n/first 10, n/late 5")
	contests := w.builder.Contests()
	if len(contests) != 1 || contests[0].Name != "(quota) n" || len(contests[0].Claimants) != 2 || contests[0].Claimants[1].Name != "late" {
		t.Fatalf("contested: %+v", contests)
	}
	agreed := router.Agreement{contests[0].Name: contests[0].Claimants}
	w.builder.Agree(agreed, "")
	w.claims("n/first", hostsOf("first", 10)...)
	w.serves("n/first 10, n/late 5")

	other := newWorldWith(t, small)
	other.known, other.index = w.known, w.index
	other.builder.Agree(agreed, "")
	other.builder.Update(&discovery.Snapshot{Services: w.known})
	other.serves("n/first 10, n/late 5")
	// Without the record age decides.
	other.builder.Agree(nil, "no right")
	other.builder.Agree(router.Agreement{}, "no right")
	third := newWorldWith(t, small)
	third.builder.Update(&discovery.Snapshot{Services: w.known})
	third.serves("n/first 5, n/late 10")
	third.builder.Agree(agreed, "")
	third.serves("n/first 10, n/late 5")
}

// TestQuotaOfConditions: it is separate from the quota of claims.
func TestQuotaOfConditions(t *testing.T) {
	w := newWorldWith(t, small)
	w.claims("n/one", hostsOf("one", 6, "ingress.method=GET")...)
	w.claims("n/two", append(hostsOf("two", 4, "ingress.method=GET"), "ingress.plain.host=plain.x")...)
	w.serves("n/one 4, n/two 3")
	w.refuses("n/one", "has its 4 conditions", "--max-conditions-service")
	w.refuses("n/two", "the namespace has its 6 conditions", "--max-conditions-namespace")
	w.wants("plain.x/", "n/two")
}

// TestQuotaOfLingering: lingering beyond it ends at once, and is counted.
func TestQuotaOfLingering(t *testing.T) {
	w := newWorldWith(t, small)
	w.claims("n/one", hostsOf("one", 9)...)
	w.claims("n/one", hostsOf("other", 2)...)
	w.refuses("n/one", "4 claims without instances", "the service has its 5", "--max-lingering-service")
	lingering := func() (u router.Usage) { return w.router.Current().Usage()[2] }
	if u := lingering(); u.Used != 5 || u.Refused != 4 || u.Fullest != 5./8 {
		t.Errorf("%+v", u)
	}
	w.claims("n/two", hostsOf("two", 6)...)
	w.claims("n/two")
	if u := lingering(); u.Used != 8 || u.Refused != 7 {
		t.Errorf("%+v", u)
	}
	w.now = w.now.Add(time.Minute)
	w.builder.Expire()
	if u := lingering(); u.Used != 0 || w.router.Current().Usage()[0].Used != 2 {
		t.Errorf("%+v", w.router.Current().Usage())
	}
	if left := w.router.Current().Rejections(); len(left) > 0 {
		t.Errorf("still refused: %v", left)
	}
}

// TestFileHasNoQuota: claims of the operator's file are not counted.
func TestFileHasNoQuota(t *testing.T) {
	w := newWorldWith(t, small)
	key := discovery.Key{Namespace: "default", Name: "file"}
	w.known[key] = crowd("default", "file", 1, 0, func(int) []string { return hostsOf("file", 40) })
	w.claims("n/one", hostsOf("one", 10)...)
	w.serves("default/file 40, n/one 10")
}

// TestQuotasStepByStep: whatever the services do, the quotas hold, the usage is
// reported, and a builder that saw only the end serves the same.
func TestQuotasStepByStep(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		o := small
		o.Linger = -1
		table, b := build(t, o)
		known := make(map[discovery.Key]*discovery.Service)
		for range 60 {
			key := discovery.Key{Namespace: fmt.Sprint("n", r.IntN(3)), Name: fmt.Sprint("s", r.IntN(4))}
			delete(known, key)
			if r.IntN(4) > 0 {
				age := uint64(1 + 4*(int(key.Namespace[1])%3) + int(key.Name[1])%4)
				tags := hostsOf(key.Namespace+key.Name, 1+r.IntN(12))
				if r.IntN(3) == 0 {
					tags = append(tags, "ingress.method=GET")
				}
				known[key] = crowd(key.Namespace, key.Name, 1, age, func(int) []string { return tags })
			}
			b.Update(&discovery.Snapshot{Services: known})
			total, of := 0, make(map[string]int)
			for _, route := range table.Current().Routes() {
				total++
				of[route.Namespace]++
				of[route.ID()]++
			}
			for name, n := range of {
				if limit := map[bool]int{true: 10, false: 15}[strings.Contains(name, "/")]; n > limit {
					t.Fatalf("seed %d: %s has %d claims", seed, name, n)
				}
			}
			if used := table.Current().Usage()[0].Used; total > 24 || used != total {
				t.Fatalf("seed %d: %d claims in all, counted as %d", seed, total, used)
			}
		}
		fresh, other := build(t, o)
		other.Update(&discovery.Snapshot{Services: known})
		if got, want := describe(table.Current()), describe(fresh.Current()); got != want {
			t.Fatalf("seed %d: step by step\n%s\nat once\n%s", seed, got, want)
		}
		b.Close()
		other.Close()
	}
}

// TestFirstServicesFit: two namespaces that take all they can, of every total, leave room
// for the first services of others, and for these to linger.
func TestFirstServicesFit(t *testing.T) {
	o := router.Options{Quotas: router.Quotas{
		Claims:     router.Limits{Service: 100, Namespace: 800, Total: 1600},
		Conditions: router.Limits{Service: 100, Namespace: 800, Total: 1600},
		Memory:     router.Limits{Service: 100_000, Namespace: 500_000, Total: 1_000_000},
		Lingering:  router.Limits{Service: 100, Namespace: 400, Total: 800},
	}}
	w := newWorldWith(t, o)
	greedy := func(generation int) {
		for _, namespace := range []string{"a", "b"} {
			for i := range 12 {
				name := fmt.Sprintf("s%d", i)
				w.claims(namespace+"/"+name, hostsOf(fmt.Sprintf("g%d-%s-%s", generation, name, namespace), 100, "ingress.method=GET")...)
			}
		}
	}
	greedy(0)
	greedy(1) // what was claimed before lingers
	used := w.router.Current().Usage()
	for _, u := range used[:3] {
		if u.Used < u.Limits.Total/2 {
			t.Errorf("the two have only %d %s", u.Used, u.Quota)
		}
	}
	for i := range 9 { // with 6.5 kB each, and 62.5 kB are spare
		name := fmt.Sprintf("n%d/web", i)
		w.claims(name, hostsOf(fmt.Sprintf("web%d", i), 1, "ingress.method=GET")...)
		w.wants(fmt.Sprintf("h0.web%d.x/", i), name)
	}
	for _, r := range w.router.Current().Rejections() {
		if r.Namespace != "a" && r.Namespace != "b" {
			t.Errorf("refused: %v", r)
		}
	}
	w.claims("n0/web")
	if u := w.router.Current().Usage()[2]; u.Used > u.Limits.Total {
		t.Errorf("%d linger", u.Used)
	}
	if r := w.lookup("h0.web0.x"); r == nil || !r.Lingers() {
		t.Errorf("the route of a namespace that has only this one does not linger: %v", r)
	}
}

//go:build !race

package router_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
)

// input is one that makes a table large: the services of each step replace those of
// the last one.
type input struct {
	name  string
	steps [][]*discovery.Service
}

// apart gives each instance an address of its own.
func apart(services []*discovery.Service) []*discovery.Service {
	a := netip.MustParseAddr("10.1.0.0")
	for _, s := range services {
		for _, i := range s.Instances {
			a = a.Next()
			i.Address, i.Port = a.String(), 8080
		}
	}
	return services
}

// several makes services, each in the namespace that it names.
func several(n, instances, generation int, name func(i int) (namespace, service string), tags func(i, instance int) []string) (all []*discovery.Service) {
	for i := range n {
		namespace, service := name(i)
		all = append(all, crowd(namespace, service, instances, uint64(generation*n+i+1), func(instance int) []string { return tags(i, instance) }))
	}
	return apart(all)
}

func ofOne(i int) (namespace, service string)  { return "team", fmt.Sprint("s", i) }
func ofMany(i int) (namespace, service string) { return fmt.Sprint("n", i), "web" }

// routesWith are 64 routes, each with another value of a tag.
func routesWith(i int, tag string) (tags []string) {
	for r := range 64 {
		tags = append(tags, fmt.Sprintf("ingress.r%d.host=h%d.s%d", r, r, i), fmt.Sprintf("ingress.r%d.%s%d", r, tag, r+1))
	}
	return tags
}

// routesOfHosts are 8 routes of an instance, each with 16 long hosts that are written in upper case
// and with other tags.
func routesOfHosts(prefix string, i, instance int, tags ...string) (all []string) {
	label := strings.Repeat("X", 60)
	for r := range 8 {
		var hosts []string
		for h := range 16 {
			hosts = append(hosts, fmt.Sprintf("%s.%s.%s.s%d-i%d-r%d-h%d.example", label, label, label, i, instance, r, h))
		}
		all = append(all, fmt.Sprintf("%s.r%d.host=%s", prefix, r, strings.Join(hosts, ",")))
		for _, tag := range tags {
			all = append(all, fmt.Sprintf("%s.r%d.%s", prefix, r, tag))
		}
	}
	return all
}

// unreachable makes instances be refused as a whole.
func unreachable(services []*discovery.Service) []*discovery.Service {
	for _, s := range services {
		for _, i := range s.Instances {
			i.Address = "app.internal"
		}
	}
	return services
}

// routesOfRate gives routesWith a rate each.
func routesOfRate() (tags []string) {
	for r := range 64 {
		tags = append(tags, fmt.Sprintf("ingress.r%d.rate=%d/s", r, r+1))
	}
	return tags
}

// inputs are those that were found to take most, each by another part of a table.
func inputs(services int) []input {
	one := func(name string, services []*discovery.Service) input {
		return input{name, [][]*discovery.Service{services}}
	}
	hosts := func(generation int) []*discovery.Service {
		return several(40, 1, generation, ofMany, func(i, _ int) (tags []string) {
			for r := range 10 {
				tags = append(tags, fmt.Sprintf("ingress.r%d.host=%s", r, hostList(fmt.Sprintf("r%d.n%d.g%d", r, i, generation), 100)))
			}
			return tags
		})
	}
	paths := func(i, _ int) []string {
		return []string{"ingress.host=" + hostList(fmt.Sprint(i), 125), "ingress.path=/0,/1,/2,/3,/4,/5,/6,/7"}
	}
	return []input{
		one("40000 hosts", hosts(0)),
		one("20000 paths", several(20, 1, 0, ofMany, paths)),
		one("20000 hosts with an encoded path", several(40, 1, 0, ofMany, func(i, _ int) (tags []string) {
			for r := range 5 {
				tags = append(tags, fmt.Sprintf("ingress.r%d.host=%s", r, hostList(fmt.Sprintf("r%d.n%d", r, i), 100)), fmt.Sprintf("ingress.r%d.path=/%%C3%%A9", r))
			}
			return tags
		})),
		one("hosts with 512 encoded paths", several(30, 1, 0, ofMany, func(i, _ int) (tags []string) {
			for r := range 64 {
				tags = append(tags, fmt.Sprintf("ingress.r%d.host=h%d", r, i), fmt.Sprintf("ingress.r%[1]d.path=/%[1]d%%200,/%[1]d%%201,/%[1]d%%202,/%[1]d%%203,/%[1]d%%204,/%[1]d%%205,/%[1]d%%206,/%[1]d%%207", r))
			}
			return tags
		})),
		{"half of them linger", [][]*discovery.Service{hosts(0)[:20], hosts(1)[:20]}},
		one("services", several(services, 1, 0, ofOne, func(i, _ int) []string { return []string{fmt.Sprintf("ingress.host=h%d", i)} })),
		one("5000 instances", several(50, 100, 0, ofOne, func(i, _ int) []string { return []string{fmt.Sprintf("ingress.host=h%d", i)} })),
		one("64 equal routes", several(10, 200, 0, ofOne, func(i, _ int) []string { return routesWith(i, "priority=") })),
		one("64 weights", several(10, 200, 0, ofOne, func(i, _ int) []string { return routesWith(i, "weight=") })),
		one("64 checks", several(4, 100, 0, ofOne, func(i, _ int) []string { return routesWith(i, "check=/") })),
		one("64 policies", several(4, 200, 0, ofOne, func(i, _ int) []string { return routesWith(i, "strip=/") })),
		one("64 cookies", several(4, 200, 0, ofOne, func(i, _ int) []string { return routesWith(i, "sticky=c") })),
		one("long conditions", several(100, 1, 0, ofMany, func(i, _ int) []string {
			return []string{"ingress.host=" + hostList(fmt.Sprint(i), 100), "ingress.header=X-A: " + strings.Repeat("a", 4000), "ingress.header=X-B: " + strings.Repeat("b", 4000), "ingress.method=GET"}
		})),
		one("different lists", several(20, 50, 0, ofOne, func(i, instance int) []string {
			return []string{"ingress.host=" + hostList(fmt.Sprint(i), 100), fmt.Sprintf("ingress.weight=%d", instance+1)}
		})),
		one("rewrites", several(10, 4, 0, ofOne, func(i, instance int) []string {
			return routesWith(i, fmt.Sprintf("rewrite=^/%d/[\\w.-]{90}$ /", instance))
		})),
		one("allow lists", several(10, 4, 0, ofOne, func(i, instance int) []string {
			var list []string
			for n := range 127 {
				list = append(list, fmt.Sprintf("10.%d.%d.%d", i, instance, 2*n))
			}
			return routesWith(i, "allow="+strings.Join(list, ",")+",10.0.0.")
		})),
		one("rates", several(40, 1, 0, ofOne, func(i, _ int) []string { return append(routesWith(i, "priority="), routesOfRate()...) })),
		one("origins", several(10, 4, 0, ofOne, func(i, instance int) []string {
			return routesWith(i, fmt.Sprintf("cors=https://a%d.example.org,https://*.b%d.example.org,https://c", instance, instance))
		})),
		one("fields", several(10, 4, 0, ofOne, func(i, instance int) (tags []string) {
			for r := range 8 {
				tags = append(tags, fmt.Sprintf("ingress.r%d.host=h%d.s%d", r, r, i))
				for n := range 30 {
					tags = append(tags, fmt.Sprintf("ingress.r%d.response-set=X-%d: {host}%d{path}", r, n, instance))
				}
			}
			return tags
		})),
		one("refusals", several(10, 4, 0, ofOne, func(i, instance int) (tags []string) {
			for t := range 100 {
				tags = append(tags, fmt.Sprintf("ingress.r%d.wrong%d=%d %s", t%60, t, instance, strings.Repeat("x", 3000)))
			}
			return tags
		})),
		one("hosts of refused instances", unreachable(several(2, 500, 0, ofOne, func(i, instance int) []string { return routesOfHosts("ingress", i, instance) }))),
		one("hosts of instances with other refused tags", several(2, 500, 0, ofOne, func(i, instance int) []string {
			return append(routesOfHosts("ingress", i, instance), fmt.Sprintf("ingress.enable=perhaps%d", instance))
		})),
		one("hosts of refused routes", several(4, 60, 0, ofOne, func(i, instance int) []string { return routesOfHosts("ingress", i, instance, "wrong=1") })),
		one("hosts of routes with many refused tags", several(4, 10, 0, ofOne, func(i, instance int) []string {
			return routesOfHosts("ingress", i, instance, "wrong=1", "bad=2", "worse=3", "worst=4", "weight=much", "strip=no")
		})),
		one("hosts of tags with a misspelt prefix", several(4, 60, 0, ofOne, func(i, instance int) []string { return routesOfHosts("ingres", i, instance) })),
	}
}

// TestMemoryIsNotUnderestimated: the memory that a quota counts is at least what the table
// takes, whatever it is made of.
func TestMemoryIsNotUnderestimated(t *testing.T) {
	for _, f := range inputs(5000) {
		t.Run(f.name, func(t *testing.T) {
			x := newBuilt(t)
			empty := heap() - x.before
			for _, services := range f.steps {
				x.b.Update(snapshotOf(services...))
			}
			callAll(x.table.Current())
			took, counted := heap()-x.before-empty, float64(tableMemory(x.table.Current()).Used)/(1<<20)
			routes, pairs := 0, 0
			for _, r := range x.table.Current().Routes() {
				routes, pairs = routes+1, pairs+len(r.Pool.Members())
			}
			t.Logf("%d routes with %d pairs of route and instance, %d rejections: %.1f MB, %.0f bytes a route, counted as %.1f MB", routes, pairs,
				len(x.table.Current().Rejections()), took, took*(1<<20)/float64(max(routes, 1)), counted)
			if took > counted+0.3 {
				t.Errorf("the table takes %.1f MB, and is counted as %.1f", took, counted)
			}
			runtime.KeepAlive(f)
		})
	}
}

// callAll counts a request of each route, which makes its counters.
func callAll(t *router.Table) {
	for _, r := range t.Routes() {
		if !r.Stats.Called() {
			r.Stats.Begin()
			r.Stats.Observe(0, &router.Observation{Status: 200, IsGRPC: true})
		}
	}
}

// allInputs has all of them at once, each in namespaces of its own, and one honest service,
// which came first.
func allInputs(generation int) (all []*discovery.Service) {
	all = append(all, crowd("honest", "web", 1, 1, func(int) []string { return []string{"ingress.host=honest.example"} }))
	for n, in := range inputs(2000) {
		for _, services := range in.steps {
			for i, s := range services[:(len(services)+1)/2] {
				namespace := fmt.Sprintf("%s-%d-%d", s.Namespace, n, generation%2)
				one := crowd(namespace, s.Name, len(s.Instances), uint64(2+generation*100_000+i), func(i int) []string { return s.Instances[i].Tags })
				for i, instance := range one.Instances {
					instance.Address = s.Instances[i].Address
				}
				all = append(all, one)
			}
		}
	}
	return all
}

// TestEveryQuotaAtOnce uses up all default quotas with 128 MB: the table, with the one
// that it replaces, takes no more than 40 MB, and who came first is served.
func TestEveryQuotaAtOnce(t *testing.T) {
	const given = 128 << 20 / 10 * 9 / 5 // what serai lets the table take
	var states []*discovery.Snapshot     // which are not the table's memory
	for generation := range 2 {
		states = append(states, snapshotOf(allInputs(generation)...))
	}
	registry := upstream.NewRegistry(upstream.RegistryOptions{Probe: func(context.Context, *upstream.Endpoint) error { return nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- registry.Run(ctx) }()
	defer func() { cancel(); <-done }()
	// The prober forgets an endpoint that is gone when it comes to it.
	idle := func() bool {
		return !slices.ContainsFunc(registry.All(), func(e *upstream.Endpoint) bool { return e.State() == upstream.Probing })
	}
	x := &built{table: router.NewRouter(), before: heap()}
	var err error
	if x.b, err = router.NewBuilder(x.table, router.Options{Registry: registry, Quotas: router.Quotas{Memory: router.Limits{Total: given}}}); err != nil {
		t.Fatal(err)
	}
	defer x.b.Close()
	most, steps := 0.0, 0
	for _, state := range states {
		for more := true; more; steps++ {
			last := x.table.Current()
			more = x.b.Step(state)
			for !idle() {
				time.Sleep(10 * time.Millisecond)
			}
			most = max(most, heap()-x.before)
			runtime.KeepAlive(last)
		}
		if used := tableMemory(x.table.Current()); used.Used > given*5/4 || used.Used < given*3/4 {
			t.Errorf("the table counts as %d bytes of %d", used.Used, given)
		}
	}
	runtime.KeepAlive(states)
	t.Logf("%d steps, at most %.1f MB for a table and the one before it", steps, most)
	if most > 40 {
		t.Errorf("a table and the one before it take %.1f MB", most)
	}
	q := &router.Query{Host: []byte("honest.example"), Method: []byte("GET"), Path: []byte("/")}
	if r, _ := x.table.Current().Lookup(q); r == nil || r.Namespace != "honest" || len(r.Pool.Members()) != 1 {
		t.Errorf("the service that came first is not served: %v", r)
	}
	x.rejected(t, "table-memory-total", "all namespaces together have their", "bytes of the table", "--max-table-memory-total")
	x.rejected(t, "table-memory-service", "the service has its", "--max-table-memory-service")
}

// TestTableMemoryStepByStep: whatever the services do, the quotas of memory hold, no route
// is made twice, and a builder that saw only the end serves the same.
func TestTableMemoryStepByStep(t *testing.T) {
	quotas := router.Quotas{
		Claims: router.Limits{Service: 8, Namespace: 16, Total: 24},
		Memory: router.Limits{Service: 14_000, Namespace: 24_000, Total: 36_000},
	}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		o := router.Options{Linger: -1, Quotas: quotas}
		table, b := build(t, o)
		known := make(map[discovery.Key]*discovery.Service)
		refused := make(map[string]bool)
		for range 40 {
			key := discovery.Key{Namespace: fmt.Sprint("n", r.IntN(3)), Name: fmt.Sprint("s", r.IntN(4))}
			delete(known, key)
			if r.IntN(4) > 0 {
				age := uint64(1 + 4*(int(key.Namespace[1])%3) + int(key.Name[1])%4)
				lists := [][]string{{"ingress.host=" + hostList(key.Namespace+key.Name, 1+r.IntN(6))}}
				lists = append(lists, append(lists[0][:1:1], "ingress.weight=7", "ingress.r.host="+hostList("r"+key.Namespace+key.Name, 1+r.IntN(3)), "ingress.r.check=/c"))
				known[key] = crowd(key.Namespace, key.Name, 1+r.IntN(6), age, func(i int) []string { return lists[(i+int(age))%2] })
			}
			b.Update(&discovery.Snapshot{Services: known})
			seen := make(map[string]bool)
			for _, route := range table.Current().Routes() {
				id := route.ID() + " " + route.Host
				if seen[id] || len(route.Pool.Members()) == 0 {
					t.Fatalf("seed %d: %s is there twice, or without an instance", seed, id)
				}
				seen[id] = true
			}
			for rejection := range table.Current().EachRejection {
				refused[rejection.Quota] = true
			}
			// A service counts even if nothing of it fits.
			if used := tableMemory(table.Current()).Used; used > 36_000+12*1000 {
				t.Fatalf("seed %d: %d bytes are used", seed, used)
			}
		}
		fresh, other := build(t, o)
		other.Update(&discovery.Snapshot{Services: known})
		if got, want := describe(table.Current()), describe(fresh.Current()); got != want {
			t.Fatalf("seed %d: step by step\n%s\nat once\n%s", seed, got, want)
		}
		if seed == 59 && !(refused["table-memory-service"] && refused["table-memory-namespace"] && refused["table-memory-total"]) {
			t.Errorf("only these quotas were used up: %v", refused)
		}
		b.Close()
		other.Close()
	}
}

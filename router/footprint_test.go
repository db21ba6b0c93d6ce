package router_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"

	"serai/discovery"
)

func measured(t *testing.T, name string, steps ...[]*discovery.Service) {
	t.Run(name, func(t *testing.T) {
		before := heap()
		x := newBuilt(t)
		for _, s := range steps {
			x.b.Update(snapshotOf(s...))
		}
		took := heap() - before
		routes, members := 0, 0
		for _, r := range x.table.Current().Routes() {
			routes++
			members += len(r.Pool.Members())
		}
		t.Logf("%d routes, %d pairs of route and instance, %d rejections, %.1f MB, %.0f bytes a claim, counted as %.1f MB", routes, members, len(x.table.Current().Rejections()), took, took*(1<<20)/float64(max(routes, 1)), float64(x.table.Current().Usage()[3].Used)/(1<<20))
		if p := os.Getenv("PROFILE"); p != "" {
			f, _ := os.Create(p + "." + name)
			pprof.WriteHeapProfile(f)
			f.Close()
		}
		runtime.KeepAlive(x)
		runtime.KeepAlive(steps)
	})
}

func TestMeasure(t *testing.T) {
	runtime.MemProfileRate = 1024
	hosts := func(ns, svc string, n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("h%d.%s.%s.example.org", i, svc, ns))
		}
		return strings.Join(all, ",")
	}
	var wide []*discovery.Service
	for n := range 100 {
		ns := fmt.Sprint("n", n)
		var tags []string
		for r := range 10 {
			tags = append(tags, fmt.Sprintf("ingress.r%d.host=%s", r, hosts(ns, fmt.Sprint("r", r), 100)))
		}
		wide = append(wide, crowd(ns, "web", 1, uint64(n+1), func(int) []string { return tags }))
	}
	measured(t, "100000hosts", wide)
	var paths []*discovery.Service
	for n := range 100 {
		ns := fmt.Sprint("n", n)
		tags := []string{"ingress.host=" + hosts(ns, "a", 125), "ingress.path=/0,/1,/2,/3,/4,/5,/6,/7"}
		paths = append(paths, crowd(ns, "web", 1, uint64(n+1), func(int) []string { return tags }))
	}
	measured(t, "100000paths", paths)
	var pairs []*discovery.Service
	for s := range 10 {
		svc := fmt.Sprint("s", s)
		var tags []string
		for r := range 64 {
			tags = append(tags, fmt.Sprintf("ingress.r%d.host=h%d.%s", r, r, svc), fmt.Sprintf("ingress.r%d.weight=%d", r, r+1))
		}
		pairs = append(pairs, crowd("n", svc, 200, uint64(s+1), func(int) []string { return tags }))
	}
	measured(t, "pairs", pairs)
	var sameOptions []*discovery.Service
	for s := range 10 {
		svc := fmt.Sprint("s", s)
		var tags []string
		for r := range 64 {
			tags = append(tags, fmt.Sprintf("ingress.r%d.host=h%d.%s", r, r, svc))
		}
		sameOptions = append(sameOptions, crowd("n", svc, 200, uint64(s+1), func(int) []string { return tags }))
	}
	measured(t, "pairs-equal-options", sameOptions)
	var checks []*discovery.Service
	for s := range 5 {
		svc := fmt.Sprint("s", s)
		var tags []string
		for r := range 64 {
			tags = append(tags, fmt.Sprintf("ingress.r%d.host=h%d.%s", r, r, svc), fmt.Sprintf("ingress.r%d.check=/%d", r, r))
		}
		checks = append(checks, crowd("n", svc, 100, uint64(s+1), func(int) []string { return tags }))
	}
	measured(t, "endpoints", checks)
	var instances []*discovery.Service
	for s := range 100 {
		instances = append(instances, crowd("n", fmt.Sprint("s", s), 100, uint64(s+1), func(int) []string { return []string{fmt.Sprintf("ingress.host=h%d", s)} }))
	}
	measured(t, "10000instances", instances)
	var services []*discovery.Service
	for s := range 10000 {
		services = append(services, crowd("n", fmt.Sprint("s", s), 1, uint64(s+1), func(int) []string { return []string{fmt.Sprintf("ingress.host=h%d", s)} }))
	}
	measured(t, "10000services", services)
	var conditions []*discovery.Service
	for n := range 100 {
		ns := fmt.Sprint("n", n)
		tags := []string{"ingress.host=" + hosts(ns, "a", 100), "ingress.header=X-A: " + strings.Repeat("a", 4000), "ingress.header=X-B: " + strings.Repeat("b", 4000), "ingress.method=GET", "ingress.query=a=b", "ingress.query=b=b"}
		conditions = append(conditions, crowd(ns, "web", 1, uint64(n+1), func(int) []string { return tags }))
	}
	measured(t, "conditions", conditions)
	var wrong []*discovery.Service
	for n := range 10 {
		var tags []string
		for i := range 500 {
			tags = append(tags, fmt.Sprintf("ingress.r%d.wrong%d=%s", i%60, i, strings.Repeat("x", 3000)))
		}
		wrong = append(wrong, crowd("n", fmt.Sprint("s", n), 16, uint64(n+1), func(i int) []string { return append(tags[:400:400], fmt.Sprintf("ingress.x.y=%d", i)) }))
	}
	measured(t, "rejections", wrong)
	var lingering [][]*discovery.Service
	for g := range 2 {
		var all []*discovery.Service
		for n := range 25 {
			ns := fmt.Sprint("n", n)
			tags := []string{"ingress.host=" + hosts(ns, fmt.Sprint("g", g), 125), "ingress.path=/0,/1,/2,/3,/4,/5,/6,/7"}
			all = append(all, crowd(ns, "web", 1, uint64(g*100+n+1), func(int) []string { return tags }))
		}
		lingering = append(lingering, all)
	}
	measured(t, "lingering", lingering...)
}

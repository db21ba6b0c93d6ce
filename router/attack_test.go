package router_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/router"
)

// crowd is a service of n instances, whose tags are made by number.
func crowd(namespace, name string, n int, index uint64, tags func(i int) []string) *discovery.Service {
	s := &discovery.Service{Key: discovery.Key{Namespace: namespace, Name: name}}
	for i := range n {
		id := fmt.Sprintf("%s-%d-%d", name, index, i)
		s.Instances = append(s.Instances, &discovery.Instance{
			ID: id, ServiceName: name, Namespace: namespace, AllocID: id, JobID: "job-" + name, Tags: tags(i),
			Address: "10.0.0.1", Port: 1 + i, CreateIndex: index, ModifyIndex: index,
		})
	}
	return s
}

// everything is the largest claim that one registration can make: 64 routes of
// 128 hosts and 8 paths.
func everything(generation int, more ...string) []string {
	var tags []string
	for r := range 64 {
		var hosts []string
		for h := range 128 {
			hosts = append(hosts, fmt.Sprintf("h%d.r%d.g%d.x", h, r, generation))
		}
		p := fmt.Sprintf("ingress.r%d.", r)
		tags = append(tags, p+"host="+strings.Join(hosts, ","), p+"path=/0,/1,/2,/3,/4,/5,/6,/7")
		for _, m := range more {
			tags = append(tags, p+m)
		}
	}
	return tags
}

// conditional are 64 routes of one host that each ask for another header.
func conditional(host string, priority, i int) []string {
	var tags []string
	for r := range 64 {
		p := fmt.Sprintf("ingress.r%d.", r)
		tags = append(tags, p+"host="+host, fmt.Sprintf("%sheader=X-%d: %d", p, i, r), fmt.Sprintf("%spriority=%d", p, priority))
	}
	return tags
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

func snapshotOf(services ...*discovery.Service) *discovery.Snapshot {
	s := &discovery.Snapshot{Services: make(map[discovery.Key]*discovery.Service)}
	for _, one := range services {
		s.Services[one.Key] = one
		s.Index = max(s.Index, one.Instances[0].CreateIndex)
	}
	return s
}

// TestMeasure prints what each attack costs.
func TestMeasure(t *testing.T) {
	measure := func(name string, run func(b *router.Builder, table *router.Router)) {
		table, b := build(t, router.Options{})
		before, began := heap(), time.Now()
		run(b, table)
		took := time.Since(began)
		lingering := 0
		routes := table.Current().Routes()
		for _, r := range routes {
			if r.Lingers() {
				lingering++
			}
		}
		n := len(routes)
		routes = nil
		t.Logf("%-40s %7d routes %7d lingering %7.1f MB %9v", name, n, lingering, heap()-before, took.Round(time.Millisecond))
		b.Close()
		runtime.KeepAlive(table)
	}
	plain := func(g int) *discovery.Service {
		return crowd("evil", "big", 1, uint64(g+1), func(int) []string { return everything(g) })
	}
	measure("one registration", func(b *router.Builder, _ *router.Router) { b.Update(snapshotOf(plain(0))) })
	measure("five times new hosts", func(b *router.Builder, _ *router.Router) {
		for g := range 5 {
			b.Update(snapshotOf(plain(g)))
		}
	})
	measure("sticky, one instance", func(b *router.Builder, _ *router.Router) {
		b.Update(snapshotOf(crowd("evil", "big", 1, 1, func(int) []string { return everything(0, "sticky=c") })))
	})
	measure("sticky, 8 instances", func(b *router.Builder, _ *router.Router) {
		b.Update(snapshotOf(crowd("evil", "big", 8, 1, func(int) []string { return everything(0, "sticky=c") })))
	})
	measure("128 x 64 conditions on *", func(b *router.Builder, table *router.Router) {
		honest := crowd("honest", "web", 1, 1, func(int) []string { return []string{"ingress.host=a.example"} })
		b.Update(snapshotOf(honest, crowd("evil", "many", 128, 2, func(i int) []string { return conditional("*", 1, i) })))
		q := &router.Query{Host: []byte("a.example"), Method: []byte("GET"), Path: []byte("/"), Attributes: attributes{}}
		began := time.Now()
		for range 1000 {
			table.Current().Lookup(q)
		}
		t.Logf("   a lookup of another's host: %v", time.Since(began)/1000)
	})
	measure("512 x 64 conditions", func(b *router.Builder, _ *router.Router) {
		honest := crowd("honest", "web", 1, 1, func(int) []string { return []string{"ingress.host=a.example"} })
		b.Update(snapshotOf(honest, crowd("evil", "many", 512, 2, func(i int) []string { return conditional("evil.example", 0, i) })))
		began := time.Now()
		honest = crowd("honest", "web", 1, 3, func(int) []string { return []string{"ingress.host=b.example"} })
		b.Update(snapshotOf(honest, crowd("evil", "many", 512, 4, func(i int) []string { return conditional("evil.example", 0, i) })))
		t.Logf("   a change beside it: %v", time.Since(began).Round(time.Millisecond))
	})
}

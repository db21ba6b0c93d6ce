package router_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"serai/discovery"
	"serai/router"
)

// crowd is a service of n instances, whose tags are made from their number.
func crowd(namespace, name string, n int, index uint64, tags func(i int) []string) *discovery.Service {
	s := &discovery.Service{Key: discovery.Key{Namespace: namespace, Name: name}}
	for i := range n {
		id := fmt.Sprintf("%s-%d-%d", name, index, i)
		s.Instances = append(s.Instances, &discovery.Instance{
			ID: id, Service: name, Namespace: namespace, Alloc: id, Job: "job-" + name, Tags: tags(i),
			Address: "10.0.0.1", Port: 1 + i, Created: index, Modified: index,
		})
	}
	return s
}

// hostList writes n hosts as a tag does.
func hostList(name string, n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("h%d.%s.example.org", i, name))
	}
	return strings.Join(all, ",")
}

// tableMemory is how much of the quota of memory is used.
func tableMemory(t *router.Table) router.Usage {
	for _, u := range t.Usage() {
		if u.Quota == "table-memory" {
			return u
		}
	}
	return router.Usage{}
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

// conditional are 64 routes of one host, each with a condition on another header.
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
		s.Index = max(s.Index, one.Instances[0].Created)
	}
	return s
}

// built is a table and its cost.
type built struct {
	table  *router.Router
	b      *router.Builder
	before float64
}

func newBuilt(t *testing.T) *built {
	x := &built{before: heap()}
	x.table, x.b = build(t, router.Options{})
	t.Cleanup(x.b.Close)
	return x
}

// holds checks the number of routes and of lingering ones, and that they use at most so
// many MB.
func (x *built) holds(t *testing.T, routes, lingering int, most float64) {
	t.Helper()
	n, waiting := 0, 0
	for _, r := range x.table.Current().Routes() {
		if n++; r.Lingers() {
			waiting++
		}
	}
	took := heap() - x.before
	t.Logf("%d routes, %d of them lingering, %.1f MB", n, waiting, took)
	if n != routes || waiting != lingering || took > most {
		t.Errorf("%d routes, %d of them lingering, %.1f MB; want %d, %d, and %.0f MB at most", n, waiting, took, routes, lingering, most)
	}
	runtime.KeepAlive(x.table)
}

func (x *built) rejected(t *testing.T, quota string, words ...string) {
	t.Helper()
	for _, r := range x.table.Current().Rejections() {
		if r.Quota == quota && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r.String(), w) }) {
			return
		}
	}
	t.Errorf("no rejection for %s with %q: %v", quota, words, x.table.Current().Rejections())
}

func greedy(generation int, more ...string) *discovery.Service {
	return crowd("evil", "big", 1, uint64(generation+1), func(int) []string { return everything(generation, more...) })
}

// TestOneGreedyService: the claims of one registration use little memory, however often
// it makes new ones, and with a sticky cookie.
func TestOneGreedyService(t *testing.T) {
	t.Run("once", func(t *testing.T) {
		x := newBuilt(t)
		x.b.Update(snapshotOf(greedy(0)))
		x.holds(t, 1000, 0, 8)
		x.rejected(t, "claims-service", "has its 1000 claims", "--max-claims-service")
	})
	t.Run("five times", func(t *testing.T) {
		x := newBuilt(t)
		for g := range 5 {
			x.b.Update(snapshotOf(greedy(g)))
		}
		x.holds(t, 2000, 1000, 16)
		x.rejected(t, "lingering-service", "1000", "--max-lingering-service")
	})
	t.Run("sticky", func(t *testing.T) {
		x := newBuilt(t)
		x.b.Update(snapshotOf(crowd("evil", "big", 8, 1, func(int) []string { return everything(0, "sticky=c") })))
		x.holds(t, 1000, 0, 16)
	})
}

// TestSharedMembersAndCookies: the memory of members and sticky cookies does not grow
// with the claims of a service.
func TestSharedMembersAndCookies(t *testing.T) {
	x := newBuilt(t)
	var hosts []string
	for i := range 100 {
		hosts = append(hosts, fmt.Sprintf("h%d.example", i))
	}
	tags := []string{"ingress.host=" + strings.Join(hosts, ","), "ingress.path=/0,/1,/2,/3,/4,/5,/6,/7,/8", "ingress.sticky=c"}
	x.b.Update(snapshotOf(crowd("team", "web", 500, 1, func(int) []string { return tags })))
	x.holds(t, 900, 0, 32)
	routes := x.table.Current().Routes()
	first, last := routes[0].Pool, routes[len(routes)-1].Pool
	if !first.SharesMembers(last) || first.Room() == last.Room() {
		t.Error("two claims of a service have members of their own, or one room")
	}
}

// TestManyConditions: conditions on "*" are not evaluated for another namespace's host,
// and they have a quota.
func TestManyConditions(t *testing.T) {
	x := newBuilt(t)
	honest := crowd("honest", "web", 1, 1, func(int) []string { return []string{"ingress.host=a.example"} })
	x.b.Update(snapshotOf(honest, crowd("evil", "many", 128, 2, func(i int) []string { return conditional("*", 1, i) })))
	x.holds(t, 501, 0, 16)
	x.rejected(t, "conditions-service", "has its 500 conditions", "--max-conditions-service")
	asked := &counting{}
	q := &router.Query{Host: []byte("a.example"), Method: []byte("GET"), Path: []byte("/"), Attributes: asked}
	if r, _ := x.table.Current().Lookup(q); r == nil || r.Namespace != "honest" || asked.n != 0 {
		t.Errorf("the host goes to %v after %d looks at its fields", r, asked.n)
	}
	q.Host = []byte("nobodys.example")
	if x.table.Current().Lookup(q); asked.n > 500 {
		t.Errorf("%d looks at the fields of a request", asked.n)
	}
}

// counting counts lookups of fields.
type counting struct {
	attributes
	n int
}

func (c *counting) Header(string) []byte { c.n++; return nil }

// TestCostlyServiceComesLast: the change of a service with few tags is in the table
// before that of one with very many, whose number is limited.
func TestCostlyServiceComesLast(t *testing.T) {
	x := newBuilt(t)
	state := func(index uint64, host string) *discovery.Snapshot {
		return snapshotOf(
			crowd("honest", "web", 1, index, func(int) []string { return []string{"ingress.host=" + host} }),
			crowd("evil", "many", 512, index+1, func(i int) []string { return conditional("evil.example", 0, i) }),
			crowd("evil", "more", 512, index+1, func(i int) []string { return conditional("more.example", 0, i) }))
	}
	x.b.Update(state(1, "a.example"))
	next := state(3, "b.example")
	if more := x.b.Step(next); !more {
		t.Error("all of it was made at once")
	}
	q := &router.Query{Host: []byte("b.example"), Method: []byte("GET"), Path: []byte("/")}
	if r, _ := x.table.Current().Lookup(q); r == nil {
		t.Error("the change of the small service is not in the first table")
	}
	steps := 1
	for x.b.Step(next) {
		steps++
	}
	if index := x.table.Current().Index; steps > 3 || index != next.Index {
		t.Errorf("after %d more steps the table is of %d", steps, index)
	}
	found := false
	for _, r := range x.table.Current().Rejections() {
		found = found || strings.Contains(r.Why, "more than 8192 different tags")
	}
	if !found {
		t.Error("the tags of a service are not bounded")
	}
}

// TestRedeployWithOtherNames: new names for a thousand claims are matched by their
// places, without a search through all for each.
func TestRedeployWithOtherNames(t *testing.T) {
	x := newBuilt(t)
	tags := func(prefix string) func(int) []string {
		return func(int) []string {
			var all []string
			for r := range 60 {
				all = append(all, fmt.Sprintf("ingress.%s%d.host=r%d.example", prefix, r, r), fmt.Sprintf("ingress.%s%d.path=/0,/1,/2,/3,/4,/5,/6,/7,/8,/9", prefix, r))
			}
			return all
		}
	}
	x.b.Update(snapshotOf(crowd("team", "web", 1, 1, tags("old"))))
	room := x.table.Current().Routes()[0].Pool.Room()
	x.b.Update(snapshotOf(crowd("team", "web", 1, 2, tags("new"))))
	x.holds(t, 600, 0, 16)
	if r := x.table.Current().Routes()[0]; r.Pool.Room() != room || r.CreateIndex != 1 {
		t.Errorf("a renamed route does not go on with what the old one kept: %+v", r)
	}
}

// TestClaimsOfManyInstances: what a service costs grows with its instances and with
// its claims, not with the product: those of equal tags are read once, and there is a
// bound for all different ones.
func TestClaimsOfManyInstances(t *testing.T) {
	var hosts []string
	for i := range 125 {
		hosts = append(hosts, fmt.Sprintf("h%d.example", i))
	}
	tags := []string{"ingress.host=" + strings.Join(hosts, ","), "ingress.path=/0,/1,/2,/3,/4,/5,/6,/7"}
	members := func(x *built) (least, most int) {
		for i, r := range x.table.Current().Routes() {
			n := len(r.Pool.Members())
			if most = max(most, n); i == 0 || n < least {
				least = n
			}
		}
		return least, most
	}
	t.Run("equal tags", func(t *testing.T) {
		const instances = 1000
		x := newBuilt(t)
		x.b.Update(snapshotOf(crowd("evil", "big", 1, 1, func(int) []string { return tags })))
		next := snapshotOf(crowd("evil", "big", instances, 2, func(int) []string { return tags }))
		allocated := testing.AllocsPerRun(1, func() {
			x.b.Update(next)
			next = snapshotOf(crowd("evil", "big", instances, 3, func(int) []string { return tags }))
		})
		if least, most := members(x); least != instances || most != instances {
			t.Errorf("claims have %d to %d members", least, most)
		}
		t.Logf("%.0f allocations", allocated)
		if allocated > 60*instances {
			t.Errorf("%.0f allocations, as if each instance were read for itself", allocated)
		}
	})
	t.Run("refused, too", func(t *testing.T) {
		x := newBuilt(t)
		x.b.Update(snapshotOf(crowd("evil", "big", 50, 1, func(int) []string { return everything(0) })))
		x.holds(t, 1000, 0, 16)
		for _, r := range x.table.Current().Rejections() {
			if r.Instances != 50 {
				t.Errorf("it is told of %d instances, want 50: %s", r.Instances, r)
			}
		}
	})
	t.Run("different tags", func(t *testing.T) {
		x := newBuilt(t)
		x.b.Update(snapshotOf(crowd("evil", "big", 300, 1, func(i int) []string { return append(tags[:2:2], fmt.Sprintf("ingress.weight=%d", i+1)) })))
		if least, most := members(x); least != 8 || most != 8 {
			t.Errorf("claims have %d to %d members, want 8", least, most)
		}
		told := 0
		for _, r := range x.table.Current().Rejections() {
			if strings.Contains(r.Why, "claim more than 8000 times") {
				told += r.Instances
			}
		}
		if told != 300-8 {
			t.Errorf("%d instances are refused: %v", told, x.table.Current().Rejections())
		}
	})
	t.Run("many jobs", func(t *testing.T) {
		x := newBuilt(t)
		s := crowd("evil", "big", 300, 1, func(int) []string { return tags })
		for i, in := range s.Instances {
			in.Job = fmt.Sprint("job", i)
		}
		x.b.Update(snapshotOf(s))
		if _, most := members(x); most != 8 {
			t.Errorf("claims have up to %d members, want 8", most)
		}
	})
}

// TestCostOfAProductComesLast: few tags that claim much, on many instances, are as
// costly as many tags.
func TestCostOfAProductComesLast(t *testing.T) {
	x := newBuilt(t)
	var hosts []string
	for i := range 100 {
		hosts = append(hosts, fmt.Sprintf("h%d.example", i))
	}
	state := func(index uint64, host string) *discovery.Snapshot {
		return snapshotOf(
			crowd("honest", "web", 1, index+1, func(int) []string { return []string{"ingress.host=" + host} }),
			crowd("evil", "big", 1000, index, func(int) []string {
				return []string{"ingress.host=" + strings.Join(hosts, ","), "ingress.path=/0,/1,/2,/3,/4,/5,/6,/7"}
			}))
	}
	x.b.Update(state(1, "a.example"))
	if more := x.b.Step(state(3, "b.example")); !more {
		t.Error("all of it was made at once")
	}
	q := &router.Query{Host: []byte("b.example"), Method: []byte("GET"), Path: []byte("/")}
	if r, _ := x.table.Current().Lookup(q); r == nil {
		t.Error("the change of the small service is not in the first table")
	}
}

package router_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/policy"
	"serai/router"
	"serai/upstream"
)

// world is a builder with its clock and its input.
type world struct {
	t        *testing.T
	registry *upstream.Registry
	router   *router.Router
	builder  *router.Builder
	now      time.Time
	known    map[discovery.Key]*discovery.Service
	index    uint64
}

func newWorld(t *testing.T) *world { return newWorldWith(t, router.Options{}) }

func newWorldWith(t *testing.T, o router.Options) *world {
	w := &world{t: t, registry: upstream.NewRegistry(upstream.RegistryOptions{}), router: router.NewRouter(),
		now: time.Unix(1000, 0), known: make(map[discovery.Key]*discovery.Service)}
	o.Registry, o.Now = w.registry, func() time.Time { return w.now }
	b, err := router.NewBuilder(w.router, o)
	if err != nil {
		t.Fatal(err)
	}
	w.builder = b
	t.Cleanup(b.Close)
	return w
}

// set makes the instances of a service; each is ID then tags, separated by commas.
func (w *world) set(service string, instances ...string) {
	w.index++
	key := discovery.Key{Namespace: "default", Name: service}
	s := &discovery.Service{Key: key}
	for i, text := range instances {
		id, tags, _ := strings.Cut(text, ",")
		s.Instances = append(s.Instances, &discovery.Instance{
			ID: id, Service: service, Namespace: "default", Alloc: id, Tags: strings.Split(tags, ","),
			Address: "10.0.0.1", Port: 1000 + i, Created: w.index, Modified: w.index,
		})
	}
	w.known[key] = s
	if len(instances) == 0 {
		delete(w.known, key)
	}
	w.builder.Update(&discovery.Snapshot{Services: w.known, Index: w.index})
}

func (w *world) lookup(host string) *router.Route {
	r, _ := w.router.Current().Lookup(&router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte("/")})
	return r
}

const a = "ingress.host=a.example"

// TestRedeployOfTheOnlyInstance: the route stays while there is no instance, and keeps
// its room, its statistics and its age.
func TestRedeployOfTheOnlyInstance(t *testing.T) {
	w := newWorld(t)
	w.set("web", "one,"+a)
	before := w.lookup("a.example")
	w.set("web")
	waiting := w.lookup("a.example")
	if waiting == nil || !waiting.Lingers() || len(waiting.Pool.Members()) != 0 || waiting.Pool.Room() != before.Pool.Room() {
		t.Fatalf("without an instance the route is %+v", waiting)
	}
	w.now = w.now.Add(59 * time.Second)
	w.builder.Expire()
	w.set("web", "two,"+a)
	after := w.lookup("a.example")
	if after == nil || after.Lingers() || after.Pool.Room() != before.Pool.Room() || after.Stats != before.Stats || after.CreateIndex != before.CreateIndex {
		t.Fatalf("after the redeploy the route is %+v, before it was %+v", after, before)
	}
	if next := w.builder.NextExpiry(); !next.IsZero() {
		t.Errorf("something still expires at %v", next)
	}
}

// TestPoliciesOutliveTables: the state of a route's policies stays with the route, and
// ends with it; a lingering route still has its policies.
func TestPoliciesOutliveTables(t *testing.T) {
	w := newWorld(t)
	kept := func() *int {
		return policy.Keep(&w.lookup("a.example").Stats.Policies, "test", func() *int { return new(int) })
	}
	w.set("web", "one,"+a+",ingress.hsts=max-age=1")
	first := kept()
	w.set("web")
	if r := w.lookup("a.example"); !r.Lingers() || r.Policies == nil {
		t.Fatalf("without an instance the route is %+v", r)
	}
	w.set("web", "two,"+a)
	if kept() != first {
		t.Error("the next table's policies do not go on with what the last one's kept")
	}
	if r := w.lookup("a.example"); r.Policies != nil {
		t.Errorf("a route that asks for nothing has %q", policy.Explain(r.Policies, nil))
	}
	w.set("web")
	w.now = w.now.Add(time.Minute)
	w.builder.Expire()
	w.set("web", "three,"+a)
	if kept() == first {
		t.Error("what was kept has outlived its route")
	}
}

func TestLingeringEnds(t *testing.T) {
	w := newWorld(t)
	w.set("web", "one,"+a)
	w.set("web")
	if at := w.builder.NextExpiry(); at != w.now.Add(time.Minute) {
		t.Fatalf("the route goes at %v", at)
	}
	w.now = w.now.Add(time.Minute)
	w.builder.Expire()
	if r := w.lookup("a.example"); r != nil {
		t.Errorf("the route is still there: %+v", r)
	}
	if left := w.registry.All(); len(left) > 0 {
		t.Errorf("endpoints are left: %+v", left)
	}
}

// TestWithdrawnClaim: an instance that is still registered, with other tags, ends its
// old claim at once.
func TestWithdrawnClaim(t *testing.T) {
	w := newWorld(t)
	w.set("web", "one,"+a)
	w.set("web", "one,ingress.host=b.example")
	if w.lookup("a.example") != nil || w.lookup("b.example") == nil {
		t.Error("the old host is still served, or the new one is not")
	}
}

// TestNewTagsOfTheNextInstance: a lingering route gives way to a live one of
// its service.
func TestNewTagsOfTheNextInstance(t *testing.T) {
	w := newWorld(t)
	w.set("web", "one,"+a+",ingress.path=/")
	w.set("web")
	w.set("web", "two,"+a+",ingress.priority=-1")
	if r := w.lookup("a.example"); r == nil || r.Lingers() || r.Priority != -1 {
		t.Errorf("the request goes to %+v", r)
	}
}

// TestContestedHost: the holder keeps its host through a redeploy, and loses
// it when it does not come back.
func TestContestedHost(t *testing.T) {
	w := newWorld(t)
	w.set("old", "one,"+a)
	w.set("new", "two,"+a)
	w.set("old")
	w.set("old", "three,"+a)
	if r := w.lookup("a.example"); r.Service != "old" || r.Lingers() {
		t.Fatalf("after its redeploy the host is held by %+v", r)
	}
	if refused := w.router.Current().Rejections(); len(refused) != 1 || refused[0].Holder != "default/old" {
		t.Errorf("refused %+v", refused)
	}
	w.set("old")
	w.now = w.now.Add(time.Minute)
	w.builder.Expire()
	if r := w.lookup("a.example"); r == nil || r.Service != "new" {
		t.Fatalf("the host goes to %+v", r)
	}
	if refused := w.router.Current().Rejections(); len(refused) != 0 {
		t.Errorf("refused %+v", refused)
	}
}

// TestUnchangedServiceIsNotTouched: and a changed one keeps its endpoints.
func TestUnchangedServiceIsNotTouched(t *testing.T) {
	w := newWorld(t)
	w.set("web", "one,"+a)
	w.set("api", "two,ingress.host=b.example")
	web := w.lookup("a.example")
	endpoint := w.lookup("b.example").Pool.Members()[0].Endpoint
	w.set("api", "two,ingress.host=b.example,ingress.timeout=1s", "three,ingress.host=b.example")
	if w.lookup("a.example") != web {
		t.Error("a service that did not change has a new route")
	}
	if m := w.lookup("b.example").Pool.Members(); len(m) != 2 || m[0].Endpoint != endpoint {
		t.Error("a change made a new endpoint of the same instance")
	}
}

// TestWaitersFollow: a request that waits in a room gets a member of the table that is
// current by then.
func TestWaitersFollow(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { w.registry.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	w.set("web", "one,"+a)
	w.set("web")
	got := make(chan *upstream.Member, 1)
	room := w.lookup("a.example").Pool.Room()
	go func() {
		m, err := room.Wait(time.Minute, upstream.WaitingRequest{Tried: &upstream.Tried{}})
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	port := netip.MustParseAddrPort(server.Listener.Addr().String())
	w.index++
	key := discovery.Key{Namespace: "default", Name: "web"}
	w.known[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{{
		ID: "two", Service: "web", Namespace: "default", Tags: []string{a}, Address: port.Addr().String(), Port: int(port.Port()),
	}}}
	w.builder.Update(&discovery.Snapshot{Services: w.known, Index: w.index})
	if m := <-got; m != w.lookup("a.example").Pool.Members()[0] {
		t.Errorf("the request was given %+v", m)
	}
}

// TestIncrementalIsTheSameAsFresh changes services at random: a builder that saw every
// step, without lingering, has the same table as one that saw only the last.
func TestIncrementalIsTheSameAsFresh(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		build := func() (*router.Router, *router.Builder) {
			table := router.NewRouter()
			b, err := router.NewBuilder(table, router.Options{Registry: upstream.NewRegistry(upstream.RegistryOptions{}), Linger: -1})
			if err != nil {
				t.Fatal(err)
			}
			return table, b
		}
		table, b := build()
		known := make(map[discovery.Key]*discovery.Service)
		hosts := []string{"a.example", "b.example", "*.example", "*", "c.example"}
		for step := range uint64(120) {
			key := discovery.Key{Namespace: "default", Name: fmt.Sprint("s", r.IntN(12))}
			if r.IntN(4) == 0 {
				delete(known, key)
			} else {
				s := &discovery.Service{Key: key}
				for i := range 1 + r.IntN(3) {
					var tags []string
					for route := range 1 + r.IntN(12) {
						p := fmt.Sprintf("ingress.r%d.", route)
						tags = append(tags, p+"host="+hosts[r.IntN(len(hosts))], fmt.Sprintf("%spath=/p%d", p, r.IntN(40)), fmt.Sprintf("%spriority=%d", p, r.IntN(2)))
						if r.IntN(8) == 0 {
							tags = append(tags, p+"nonsense=1")
						}
					}
					// A claim's age is remembered, so it must not depend on the step.
					s.Instances = append(s.Instances, &discovery.Instance{ID: fmt.Sprint(key.Name, "-", i), Service: key.Name, Namespace: "default",
						Tags: tags, Address: "10.0.0.1", Port: 1 + r.IntN(9), Created: uint64(len(key.Name)), Modified: step})
				}
				known[key] = s
			}
			b.Update(&discovery.Snapshot{Services: known, Index: step})
		}
		fresh, other := build()
		other.Update(&discovery.Snapshot{Services: known, Index: 119})
		got, want := describe(table.Current()), describe(fresh.Current())
		if got != want {
			t.Fatalf("seed %d: step by step\n%s\nat once\n%s", seed, got, want)
		}
		for range 500 {
			q := &router.Query{Host: []byte([]string{"a.example", "b.example", "x.example", "c.example", "y"}[r.IntN(5)]), Method: []byte("GET"), Path: fmt.Appendf(nil, "/p%d/x", r.IntN(45))}
			one, miss := table.Current().Lookup(q)
			two, _ := fresh.Current().Lookup(q)
			if (one == nil) != (two == nil) || one != nil && (one.ID() != two.ID() || one.Path != two.Path || one.Host != two.Host) {
				t.Fatalf("seed %d: %s%s goes to %v and to %v", seed, q.Host, q.Path, one, two)
			}
			x := table.Current().Explain(q)
			if x.Result != miss.String() || one != nil && x.Winner != one.ID() || slices.ContainsFunc(x.Candidates, func(c router.Candidate) bool { return c.Why == "" }) {
				t.Fatalf("seed %d: the explanation %+v of %v", seed, x, one)
			}
		}
		b.Close()
		other.Close()
	}
}

func describe(t *router.Table) string {
	var b strings.Builder
	for _, r := range t.Routes() {
		fmt.Fprintf(&b, "%s%s %d -> %s:", r.Host, r.Path, r.Priority, r)
		for _, m := range r.Pool.Members() {
			fmt.Fprintf(&b, " %s", m.ID)
		}
		b.WriteString("\n")
	}
	for _, r := range t.Rejections() {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// many is a snapshot of n services with three instances and the given number of hosts
// each.
func many(n, hosts int) *discovery.Snapshot {
	s := &discovery.Snapshot{Services: make(map[discovery.Key]*discovery.Service, n), Index: 1}
	for i := range n {
		key := discovery.Key{Namespace: "default", Name: fmt.Sprint("service-", i)}
		var names []string
		for h := range hosts {
			names = append(names, fmt.Sprintf("h%d.s%d.example.org", h, i))
		}
		service := &discovery.Service{Key: key}
		for j := range 3 {
			id := fmt.Sprintf("_nomad-task-%08x-%d", i, j)
			service.Instances = append(service.Instances, &discovery.Instance{
				ID: id, Service: key.Name, Namespace: "default", Alloc: id, Tags: []string{"ingress.host=" + strings.Join(names, ",")},
				Address: fmt.Sprintf("10.%d.%d.%d", i>>8&255, i&255, j), Port: 20000 + j, Created: uint64(i + 1), Modified: uint64(i + 1),
			})
		}
		s.Services[key] = service
	}
	return s
}

func TestLookupAllocatesNothing(t *testing.T) {
	table, b := build(t, router.Options{})
	defer b.Close()
	s := many(50, 3)
	key := discovery.Key{Namespace: "default", Name: "broad"}
	service := &discovery.Service{Key: key}
	tags := []string{"ingress.w.host=*.example.org", "ingress.any.host=*", "ingress.c.host=c.example.org", "ingress.c.header=X-Env: beta", "ingress.c.query=v=2"}
	for i := range 60 {
		tags = append(tags, fmt.Sprintf("ingress.p%d.host=many.example.org", i), fmt.Sprintf("ingress.p%d.path=/p%d", i, i))
	}
	service.Instances = []*discovery.Instance{{ID: "x", Service: "broad", Namespace: "default", Tags: tags, Address: "10.0.0.1", Port: 1}}
	s.Services[key] = service
	b.Update(s)
	for _, q := range []*router.Query{
		{Host: []byte("h1.s7.example.org"), Path: []byte("/")},
		{Host: []byte("H1.S7.Example.org.:8080"), Path: []byte("/x")},
		{Host: []byte("x.example.org"), Path: []byte("/")},
		{Host: []byte("elsewhere"), Path: []byte("/")},
		{Host: []byte("many.example.org"), Path: []byte("/p41/x/y")},
		{Host: []byte("c.example.org"), Path: []byte("/"), RawQuery: []byte("a=b&v=2"), Attributes: attributes{"x-env": "beta"}},
	} {
		q.Method = []byte("GET")
		if n := testing.AllocsPerRun(100, func() { table.Current().Lookup(q) }); n != 0 && q.Attributes == nil {
			t.Errorf("%s: %v allocations", q.Host, n)
		}
	}
}

func build(t testing.TB, o router.Options) (*router.Router, *router.Builder) {
	table := router.NewRouter()
	o.Registry = upstream.NewRegistry(upstream.RegistryOptions{})
	b, err := router.NewBuilder(table, o)
	if err != nil {
		t.Fatal(err)
	}
	return table, b
}

// BenchmarkLookup goes through 100,000 hosts.
func BenchmarkLookup(b *testing.B) {
	table, builder := build(b, router.Options{Quotas: router.Quotas{Claims: router.Limits{Namespace: 100_000}}})
	builder.Update(many(10_000, 10))
	var queries []*router.Query
	for i := range 1 << 12 { // a request's host is usually in the cache already
		queries = append(queries, &router.Query{Host: fmt.Appendf(nil, "h%d.s%d.example.org", i%10, i*7919%10_000), Method: []byte("GET"), Path: []byte("/index.html")})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if r, _ := table.Current().Lookup(queries[i&(1<<12-1)]); r == nil {
			b.Fatal("no route")
		}
	}
}

// BenchmarkUpdate changes one of 10,000 services.
func BenchmarkUpdate(b *testing.B) {
	_, builder := build(b, router.Options{})
	s := many(10_000, 1)
	builder.Update(s)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := discovery.Key{Namespace: "default", Name: fmt.Sprint("service-", i%10_000)}
		changed := *s.Services[key]
		s.Services[key] = &changed
		builder.Update(s)
	}
}

// BenchmarkFirstTable makes the table of 10,000 services of three instances.
func BenchmarkFirstTable(b *testing.B) {
	s := many(10_000, 1)
	b.ReportAllocs()
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		table, builder := build(b, router.Options{})
		builder.Update(s)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB")
		runtime.KeepAlive(table)
	}
}

func FuzzTags(f *testing.F) {
	f.Add("ingress.host=a.example\ningress.path=/x")
	f.Add("ingress.r.host=*\ningress.r.canary=10%\ningress.r.redirect=https://{host}{path}")
	f.Add("ingress.host=[::1]\ningress.check=/h\ningress.check-status=200-299\ningress.max-body=1GiB")
	f.Add("ingress.enable=true")
	f.Add("ingress.host=A\ningres.Allow=")
	f.Add("ingress.enable=false\ningress.stripp=/x\ningress.host=a.example")
	f.Add("ingress.a.enable=true\ningress.a.host=a.example\ningress.b.enable=false\ningress.b.allow=10.0.0.0/8")
	f.Fuzz(func(t *testing.T, text string) {
		definitions, problems := router.ParseTags("ingress", strings.Split(text, "\n"))
		for _, p := range problems {
			for _, s := range []string{p.Route, p.Tag, p.Why, p.Instead} {
				for i := range len(s) {
					if s[i] < ' ' || s[i] > '~' {
						t.Fatalf("%q is not printable", s)
					}
				}
			}
			if p.Why == "" || p.Instead == "" {
				t.Fatalf("a problem without reason or advice: %+v", p)
			}
		}
		names, open := make(map[string]bool), make(map[string]bool)
		for _, d := range definitions {
			if names[d.Name] || len(d.Hosts) == 0 || len(d.Prefixes)+len(d.Exact) == 0 {
				t.Fatalf("definition %+v", d)
			}
			names[d.Name], open[d.Name] = true, !d.Options.Closed
		}
		for _, p := range problems {
			if open[p.Route] && !p.None || p.Whole && len(open) > 0 && !closed(definitions) {
				t.Fatalf("route %q is both served and refused: %+v", p.Route, p)
			}
		}
	})
}

// closed reports whether no request gets through to any of the routes.
func closed(all []router.Definition) bool {
	return !slices.ContainsFunc(all, func(d router.Definition) bool { return !d.Options.Closed })
}

func FuzzLookup(f *testing.F) {
	f.Add("a.example", "/p/x", "v=1")
	f.Add("[::1]:80", "/api/%2e%2e/x", "")
	table, b := build(f, router.Options{})
	key := discovery.Key{Namespace: "default", Name: "web"}
	b.Update(&discovery.Snapshot{Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{{
		ID: "x", Service: "web", Namespace: "default", Address: "10.0.0.1", Port: 1,
		Tags: []string{"ingress.a.host=a.example,[::1]", "ingress.a.path=/p,/api", "ingress.b.host=*.example", "ingress.b.query=v=1", "ingress.c.host=*", "ingress.c.path-exact=/only"},
	}}}}})
	f.Fuzz(func(t *testing.T, host, path, query string) {
		q := &router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte(path), RawQuery: []byte(query)}
		r, miss := table.Current().Lookup(q)
		if (r == nil) != (miss != router.Found) {
			t.Fatalf("route %v and %v", r, miss)
		}
		if x := table.Current().Explain(q); x.Result != miss.String() {
			t.Fatalf("explained as %s, looked up as %s", x.Result, miss)
		}
		if r != nil && r.Path != "/" && !strings.HasPrefix(path, r.Path) {
			t.Fatalf("path %q went to %q", path, r.Path)
		}
	})
}

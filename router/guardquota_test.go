package router_test

import (
	"fmt"
	"strings"
	"testing"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
)

// at reports what a path of a host leads to: "open", "guarded", "closed" or "nothing".
func (w *world) at(host, path string) string {
	return leadsTo(w.router.Current(), &router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte(path), Attributes: attributes{}})
}

// leadsTo says in the same words what a request leads to.
func leadsTo(table *router.Table, q *router.Query) string {
	switch route, _ := table.Lookup(q); {
	case route == nil:
		return "nothing"
	case route.Options.Closed:
		return "closed"
	case route.Policies.Guards():
		return "guarded"
	}
	return "open"
}

// TestQuotasLeaveNoGuardOut: where a quota has no room for all claims of a service, those with
// a guard come first, whatever their routes are called; where these do not fit either, no other
// route of the same tags takes their requests.
func TestQuotasLeaveNoGuardOut(t *testing.T) {
	w := newWorldWith(t, small) // ten claims of a service, fifteen of a namespace
	tags := func(open int) []string {
		tags := []string{"ingress.z.host=a.x", "ingress.z.path=/admin", "ingress.z.allow=10.0.0.0/8", "ingress.a.host=a.x"}
		for n := range open {
			tags = append(tags, fmt.Sprintf("ingress.b%02d.host=a.x", n), fmt.Sprintf("ingress.b%02d.path=/%d", n, n))
		}
		return tags
	}
	w.claims("n/one", tags(30)...)
	for path, want := range map[string]string{"/admin/x": "guarded", "/": "open", "/0": "open", "/29": "open"} {
		if got := w.at("a.x", path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	w.serves("n/one 10")
	w.refuses("n/one", "has its 10 claims")

	// The guard of a later service finds no room in its namespace.
	w.claims("n/two", "ingress.host=b.x,b2.x,b3.x,b4.x,b5.x", "ingress.path=/p")
	w.serves("n/one 10, n/two 5")
	w.claims("n/three", "ingress.host=c.x", "ingress.admin.host=c.x", "ingress.admin.path=/admin", "ingress.admin.rate=5/m")
	if got := w.at("c.x", "/admin"); got != "nothing" {
		t.Errorf("/admin is %s", got)
	}
	w.refuses("n/three", "the namespace has its 15 claims")
	w.refuses("n/three", "route \"admin\" has a guard and does not get all its claims")
	// Once there is room, all is as the tags say.
	w.claims("n/two", "ingress.host=b.x")
	for path, want := range map[string]string{"/admin": "guarded", "/": "open"} {
		if got := w.at("c.x", path); got != want {
			t.Errorf("with room, %s is %s, want %s", path, got, want)
		}
	}
}

// TestNoRoomForGuards: whatever the memory of a service is, and whichever part of its claims,
// instances and pools finds no room in it, what has a guard is never open.
func TestNoRoomForGuards(t *testing.T) {
	seen := make(map[string]int)
	instances := []string{"old,ingress.host=a.x"}
	for n := range 20 {
		instances = append(instances, fmt.Sprintf("new%d,ingress.host=a.x,ingress.z.host=a.x,ingress.z.path=/admin,ingress.z.allow=10.0.0.0/8", n))
	}
	for memory := 200; memory < 24_000; memory += 50 {
		w := newWorldWith(t, router.Options{Quotas: router.Quotas{Memory: router.Limits{Service: memory, Namespace: 1 << 20, Total: 1 << 20}}})
		w.set("one", instances...)
		admin := w.at("a.x", "/admin")
		if seen[admin]++; admin != "open" {
			continue
		}
		for _, m := range w.lookup("a.x").Pool.Members() {
			if strings.HasPrefix(m.ID, "new") {
				t.Fatalf("with %d bytes, /admin of %s is open", memory, m.ID)
			}
		}
	}
	if seen["guarded"] == 0 || seen["nothing"]+seen["open"] == 0 {
		t.Errorf("it is always the same: %v", seen)
	}
}

// TestGuardsBeyondARoute: of a guarded route with more claims than a route may have, no claim is
// open at another route of its instance, whoever registered it and however many claims the
// operator permits.
func TestGuardsBeyondARoute(t *testing.T) {
	list := func(n int, format string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(all, ",")
	}
	for _, c := range []struct {
		hosts, paths, exact int
		open                bool // what the tags do not guard
	}{{8, 128, 0, true}, {16, 64, 64, false}, {99, 11, 0, false}, {128, 0, 9, false}, {128, 128, 128, false}} {
		for _, created := range []uint64{0, 1} { // of the operator's file, or not
			table := router.NewRouter()
			b, err := router.NewBuilder(table, router.Options{
				Registry: upstream.NewRegistry(upstream.RegistryOptions{}),
				Quotas:   router.Quotas{Claims: router.Limits{Service: 1 << 20, Namespace: 1 << 20, Total: 1 << 20}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			tags := []string{"ingress.host=h0.x", "ingress.admin.allow=10.0.0.0/8", "ingress.admin.host=" + list(c.hosts, "h%d.x")}
			if c.paths > 0 {
				tags = append(tags, "ingress.admin.path="+list(c.paths, "/p%d"))
			}
			if c.exact > 0 {
				tags = append(tags, "ingress.admin.path-exact="+list(c.exact, "/e%d"))
			}
			key := discovery.Key{Namespace: "default", Name: "web"}
			b.Update(&discovery.Snapshot{Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{{
				ID: "1", Namespace: "default", Service: "web", Address: "10.0.0.1", Port: 80, Tags: tags, Created: created, Modified: created,
			}}}}})
			at := func(path string) *router.Route {
				route, _ := table.Current().Lookup(&router.Query{Host: []byte("h0.x"), Method: []byte("GET"), Path: []byte(path), Attributes: attributes{}})
				return route
			}
			for n := range max(c.paths, c.exact) {
				for _, kind := range []string{"p", "e"} {
					if kind == "p" && n >= c.paths || kind == "e" && n >= c.exact {
						continue
					}
					if path := fmt.Sprint("/", kind, n); at(path) != nil && !at(path).Policies.Guards() {
						t.Errorf("%+v, created at %d: %s is open", c, created, path)
					}
				}
			}
			if open := at("/other") != nil; open != c.open {
				t.Errorf("%+v, created at %d: what is not guarded is open %v", c, created, open)
			}
		}
	}
}

// TestNoRoomForOneGuard: where a quota has room for one guarded route of an instance and none for
// another, the requests of that one do not pass the other guard instead; and other hosts go on.
func TestNoRoomForOneGuard(t *testing.T) {
	w := newWorldWith(t, small) // fifteen claims of a namespace
	w.claims("n/one", "ingress.host=a.x,b.x,c.x,d.x,e.x,f.x,g.x,h.x,i.x,j.x")
	w.claims("n/two", "ingress.host=k.x,l.x,m.x")
	tags := []string{"ingress.a.host=z.x", "ingress.a.rate=5/m", "ingress.b.host=y.x", "ingress.b.rate=5/m", "ingress.c.host=z.x", "ingress.c.path=/admin", "ingress.c.allow=10.0.0.0/8"}
	w.claims("n/three", tags...) // two of three have room
	for at, want := range map[string]string{"z.x /admin": "nothing", "z.x /": "nothing", "y.x /": "guarded"} {
		host, path, _ := strings.Cut(at, " ")
		if got := w.at(host, path); got != want {
			t.Errorf("%s is %s, want %s", at, got, want)
		}
	}
	w.refuses("n/three", `route "c" has a guard and does not get all its claims`)
	w.claims("n/two", "ingress.host=k.x")
	for at, want := range map[string]string{"z.x /admin": "guarded", "z.x /": "guarded", "y.x /": "guarded"} {
		host, path, _ := strings.Cut(at, " ")
		if got := w.at(host, path); got != want {
			t.Errorf("with room, %s is %s, want %s", at, got, want)
		}
	}
	// Whichever part of its claims, instances and pools finds no room in the memory.
	seen := make(map[string]int)
	for memory := 200; memory < 16_000; memory += 50 {
		w := newWorldWith(t, router.Options{Quotas: router.Quotas{Memory: router.Limits{Service: memory, Namespace: 1 << 20, Total: 1 << 20}}})
		var instances []string
		for n := range 10 {
			instances = append(instances, fmt.Sprintf("i%d,", n)+strings.Join(tags, ","))
		}
		w.set("one", instances...)
		route, _ := w.router.Current().Lookup(&router.Query{Host: []byte("z.x"), Method: []byte("GET"), Path: []byte("/admin"), Attributes: attributes{}})
		switch {
		case route == nil:
			seen["nothing"]++
		case route.Options.Allow != nil:
			seen["guarded"]++
		default:
			t.Fatalf("with %d bytes, /admin goes to %v", memory, route)
		}
	}
	if seen["guarded"] == 0 || seen["nothing"] == 0 {
		t.Errorf("it is always the same: %v", seen)
	}
}

// TestGuardsOfTheOperatorsPaths: a guard for a path that only the operator may claim is refused,
// and the instance's open routes do not serve the path.
func TestGuardsOfTheOperatorsPaths(t *testing.T) {
	w := newWorldWith(t, router.Options{Reserved: []string{"/.well-known/acme-challenge"}})
	w.claims("n/one", "ingress.host=a.x", "ingress.b.host=a.x", "ingress.b.path=/.well-known/acme-challenge/x", "ingress.b.allow=10.0.0.0/8")
	if got := w.at("a.x", "/.well-known/acme-challenge/x"); got != "nothing" {
		t.Errorf("it is %s", got)
	}
	w.refuses("n/one", `route "b" has a guard and does not get all its claims`)
}

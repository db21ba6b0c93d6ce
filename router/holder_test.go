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

// claims makes the one instance of namespace/service; without tags it removes it.
func (w *world) claims(name string, tags ...string) {
	w.index++
	namespace, service, _ := strings.Cut(name, "/")
	key := discovery.Key{Namespace: namespace, Name: service}
	delete(w.known, key)
	if len(tags) > 0 {
		w.known[key] = crowd(namespace, service, 1, w.index, func(int) []string { return tags })
	}
	w.builder.Update(&discovery.Snapshot{Services: w.known, Index: w.index})
}

// asks returns the service that takes a request, as namespace/service, or why none
// does.
func (w *world) asks(url string, headers ...string) string {
	host, path, _ := strings.Cut(url, "/")
	q := &router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte("/" + path), Attributes: attributes{"accept": "*/*"}}
	r, miss := w.router.Current().Lookup(q)
	if r == nil {
		return miss.String()
	}
	return r.Namespace + "/" + r.Service
}

func (w *world) wants(url, who string) {
	w.t.Helper()
	if got := w.asks(url); got != who {
		w.t.Errorf("%s goes to %s, want %s", url, got, who)
	}
}

// refuses looks for a rejection of a service that contains these words.
func (w *world) refuses(service string, words ...string) {
	w.t.Helper()
	for _, r := range w.router.Current().Rejections() {
		if r.Namespace+"/"+r.Service == service && !slices.ContainsFunc(words, func(s string) bool { return !strings.Contains(r.String(), s) }) {
			return
		}
	}
	w.t.Errorf("no rejection of %s with %q: %v", service, words, w.router.Current().Rejections())
}

// TestNobodyTakesAHeldHost: another namespace's claims on a held host, or on "*", get
// no request for it.
func TestNobodyTakesAHeldHost(t *testing.T) {
	for name, tc := range map[string]struct {
		tags []string
		url  string
	}{
		"a path":               {[]string{"ingress.host=a.example", "ingress.path=/login"}, "a.example/login"},
		"an exact path":        {[]string{"ingress.host=a.example", "ingress.path-exact=/login"}, "a.example/login"},
		"a method":             {[]string{"ingress.host=a.example", "ingress.method=GET"}, "a.example/"},
		"a header":             {[]string{"ingress.host=a.example", "ingress.header=Accept"}, "a.example/"},
		"a priority":           {[]string{"ingress.host=a.example", "ingress.priority=1"}, "a.example/"},
		"a priority on *":      {[]string{"ingress.host=*", "ingress.priority=1"}, "a.example/"},
		"a path on *":          {[]string{"ingress.host=*", "ingress.path=/login"}, "a.example/login"},
		"a priority on *.":     {[]string{"ingress.host=*.example", "ingress.priority=1"}, "a.example/"},
		"a priority, a header": {[]string{"ingress.host=*", "ingress.priority=9", "ingress.header=Accept"}, "a.example/x"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.claims("team-a/web", a)
			w.claims("team-b/web", tc.tags...)
			w.wants(tc.url, "team-a/web")
			if strings.Contains(tc.tags[0], "*") {
				w.wants("b.example/login", "team-b/web")
				return
			}
			w.refuses("team-b/web", "a.example is held by namespace team-a", `share "a.example" { namespaces = ["team-a", "team-b"] }`)
			// Another service of the holder's namespace takes part.
			w.claims("team-a/other", tc.tags...)
			w.wants(tc.url, "team-a/other")
		})
	}
	t.Run("what the holder does not serve", func(t *testing.T) {
		w := newWorld(t)
		w.claims("team-a/web", a, "ingress.path=/api")
		w.claims("team-b/web", "ingress.host=*")
		w.wants("a.example/login", "no-path")
		w.claims("team-a/rest", "ingress.host=*.example")
		w.wants("a.example/login", "team-a/rest")
		w.wants("elsewhere/login", "team-b/web")
	})
}

// TestHolderGoes: the next namespace gets the host when the holder's last claim on it
// has ended, and not before.
func TestHolderGoes(t *testing.T) {
	w := newWorld(t)
	w.claims("team-a/web", a)
	w.claims("team-a/api", a, "ingress.path=/api")
	w.claims("team-b/web", a)
	w.claims("team-a/web")
	w.claims("team-a/api")
	w.wants("a.example/", "team-a/web") // lingers
	w.now = w.now.Add(time.Minute)
	w.builder.Expire()
	w.wants("a.example/", "team-b/web")
	w.wants("a.example/api", "team-b/web")
	if left := w.router.Current().Rejections(); len(left) > 0 {
		t.Errorf("still refused: %v", left)
	}
	// A namespace that comes back is the newer one now.
	w.claims("team-a/web", a)
	w.wants("a.example/", "team-b/web")
	w.refuses("team-a/web", "held by namespace team-b")
}

// TestBelowAWildcard: a host that a wildcard covers belongs to the first claim, of the
// wildcard or of the host.
func TestBelowAWildcard(t *testing.T) {
	w := newWorld(t)
	w.claims("team-c/old", "ingress.host=old.example")
	w.claims("team-a/web", "ingress.host=*.example")
	w.claims("team-b/login", "ingress.host=login.example", "ingress.priority=5")
	w.wants("old.example/", "team-c/old")
	w.wants("login.example/", "team-a/web")
	w.refuses("team-b/login", "host login.example, which *.example covers, is held by namespace team-a")
	if hosts := w.router.Current().Hosts(); len(hosts) != 2 || w.router.Current().WantsCertificate("login.example") {
		t.Errorf("the hosts are %+v", hosts)
	}
	w.claims("team-a/login", "ingress.host=login.example")
	w.wants("login.example/", "team-a/login")
	w.claims("team-a/login", "ingress.host=else.example")
	w.claims("team-a/web", "ingress.host=*.other")
	w.now = w.now.Add(time.Minute) // it lingers until then
	w.builder.Expire()
	w.wants("login.example/", "team-b/login")
	// The wildcard that comes back is younger.
	w.claims("team-a/web", "ingress.host=*.example")
	w.wants("login.example/", "team-b/login")
	w.wants("x.example/", "team-a/web")
	if got := w.router.Current().Rejections(); len(got) > 0 {
		t.Errorf("refused: %v", got)
	}
}

// TestAgreedHolder: a node that starts after the holder's redeploy still gives the host
// to it, and one that starts while the holder is away keeps it.
func TestAgreedHolder(t *testing.T) {
	first := newWorld(t)
	first.claims("team-a/web", a)
	first.claims("team-b/web", a, "ingress.path=/login")
	contests := first.builder.Contests()
	if len(contests) != 1 || contests[0].Name != "a.example host" || contests[0].Claimants[0].Namespace != "team-a" || contests[0].Claimants[1].Name != "*" {
		t.Fatalf("contested: %+v", contests)
	}
	agreed := router.Agreement{contests[0].Name: contests[0].Claimants}
	for _, started := range []string{"after", "between"} {
		t.Run(started, func(t *testing.T) {
			w := newWorld(t)
			w.builder.Agree(agreed, "")
			w.claims("team-b/web", a, "ingress.path=/login")
			w.wants("a.example/login", "team-a/*")
			if started == "between" {
				w.now = w.now.Add(time.Minute)
				w.builder.Expire()
				w.wants("a.example/login", "team-b/web")
				return
			}
			w.claims("team-a/web", a)
			w.wants("a.example/login", "team-a/web")
			w.now = w.now.Add(time.Minute)
			w.builder.Expire()
			w.wants("a.example/login", "team-a/web")
			w.refuses("team-b/web", "held by namespace team-a")
			// The order may be changed, and vanish.
			w.builder.Agree(router.Agreement{contests[0].Name: {agreed[contests[0].Name][1], agreed[contests[0].Name][0]}}, "")
			w.wants("a.example/login", "team-b/web")
			w.wants("a.example/", "no-path")
			w.builder.Agree(nil, "")
			w.wants("a.example/login", "team-b/web")
		})
	}
	t.Run("the end seen by others", func(t *testing.T) {
		first.builder.Agree(agreed, "")
		first.claims("team-a/web")
		first.wants("a.example/login", "team-a/web")
		first.builder.Agree(nil, "")
		first.wants("a.example/login", "team-b/web")
	})
	t.Run("written down before hosts had a holder", func(t *testing.T) {
		w := newWorld(t)
		var claimants []router.Claimant
		for _, n := range []string{"team-a", "team-b"} {
			claimants = append(claimants, router.Claimant{Key: discovery.Key{Namespace: n, Name: "web"}})
		}
		w.builder.Agree(router.Agreement{"a.example /": claimants}, "")
		w.claims("team-b/web", a)
		w.claims("team-a/web", a)
		w.wants("a.example/", "team-a/web")
	})
}

// TestSharedHosts: the operator says who may claim a host together.
func TestSharedHosts(t *testing.T) {
	share := map[string][]string{"a.example": {"team-a", "team-b"}, "*.both.example": {"team-a", "team-b"}}
	w := newWorldWith(t, router.Options{Share: share, Owners: map[string][]string{"team-c": {"own.both.example"}}})
	w.claims("team-x/web", a)
	w.claims("team-a/web", a)
	w.claims("team-b/web", a, "ingress.path=/login")
	w.claims("team-d/web", "ingress.host=*", "ingress.priority=7")
	w.wants("a.example/", "team-a/web")
	w.wants("a.example/login", "team-b/web")
	w.refuses("team-x/web", "a.example is shared by namespace team-a, team-b", `add "team-x" to share "a.example"`)
	w.claims("team-b/wild", "ingress.host=*.both.example,x.both.example")
	w.claims("team-a/wild", "ingress.host=y.both.example")
	w.claims("team-c/own", "ingress.host=own.both.example")
	w.wants("z.both.example/", "team-b/wild")
	w.wants("y.both.example/", "team-a/wild")
	w.wants("own.both.example/", "team-c/own")

	w = newWorldWith(t, router.Options{SharedHosts: true})
	w.claims("team-a/web", a)
	w.claims("team-b/web", a, "ingress.path=/login")
	w.claims("team-c/web", "ingress.host=*", "ingress.priority=1", "ingress.path=/any")
	w.wants("a.example/login", "team-b/web")
	w.wants("a.example/any", "team-c/web")
	w.wants("a.example/", "team-a/web")
}

// TestOperatorsFile: services in the file of --services may be anywhere, and no other
// service gets their hosts.
func TestOperatorsFile(t *testing.T) {
	w := newWorld(t)
	local := func(name, tag string) {
		key := discovery.Key{Namespace: "default", Name: name}
		w.known[key] = crowd("default", name, 1, 0, func(int) []string { return []string{tag, "ingress.path=/x"} })
	}
	w.claims("team-a/web", "ingress.host=b.example")
	local("file", "ingress.host=a.example")
	local("all", "ingress.host=*")
	w.claims("team-b/web", a)
	w.wants("a.example/", "no-path")
	w.wants("a.example/x", "default/file")
	w.refuses("team-b/web", "held by namespace default")
	w.wants("b.example/x", "team-a/web")
	w.wants("c.example/x", "default/all")
	if got := w.builder.Contests(); len(got) > 0 {
		t.Errorf("contested: %+v", got)
	}
}

// TestOperatorsPaths: no tenant claims them, and no route that claims all hosts gets
// them.
func TestOperatorsPaths(t *testing.T) {
	w := newWorldWith(t, router.Options{Reserved: []string{"/.well-known/acme-challenge", "/.serai/ready"}})
	w.claims("team-a/web", a)
	for _, path := range []string{"path=/.well-known/acme-challenge", "path=/.well-known/acme-challenge/x", "path-exact=/.serai/ready"} {
		w.claims("team-a/ca", "ingress.host=*", "ingress."+path)
		w.refuses("team-a/ca", "is the operator's", "--services")
	}
	w.claims("team-a/ca", "ingress.host=*,*.example")
	w.wants("x.example/.well-known/acme-challenge/token", "no-host")
	w.wants("/.serai/ready", "no-host")
	w.wants("x.example/.well-known/acme", "team-a/ca")
	w.wants("a.example/.well-known/acme-challenge/token", "team-a/web") // it is theirs
}

// TestHoldersStepByStep: a builder that saw every step has the same table as one that
// saw only the last.
func TestHoldersStepByStep(t *testing.T) {
	hosts := []string{"a.x", "b.x", "*.x", "*", "c.y", "*.y"}
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		table, b := build(t, router.Options{Linger: -1})
		known := make(map[discovery.Key]*discovery.Service)
		for range 80 {
			key := discovery.Key{Namespace: fmt.Sprint("n", r.IntN(3)), Name: fmt.Sprint("s", r.IntN(3))}
			delete(known, key)
			if r.IntN(4) > 0 {
				// An age that does not depend on the step.
				age := uint64(1 + 7*(int(key.Namespace[1])%3) + 5*(int(key.Name[1])%4))
				known[key] = crowd(key.Namespace, key.Name, 1, age, func(int) (tags []string) {
					for route := range 1 + r.IntN(20) {
						p := fmt.Sprintf("ingress.r%d.", route)
						tags = append(tags, p+"host="+hosts[r.IntN(len(hosts))], fmt.Sprintf("%spath=/p%d", p, r.IntN(30)), fmt.Sprintf("%spriority=%d", p, r.IntN(2)))
					}
					return tags
				})
			}
			b.Update(&discovery.Snapshot{Services: known})
		}
		fresh, other := build(t, router.Options{Linger: -1})
		other.Update(&discovery.Snapshot{Services: known})
		if got, want := describe(table.Current()), describe(fresh.Current()); got != want {
			t.Fatalf("seed %d: step by step\n%s\nat once\n%s", seed, got, want)
		}
		// One namespace has each host that is claimed by name.
		owner := make(map[string]string)
		for _, route := range table.Current().Routes() {
			if n, ok := owner[route.Host]; ok && n != route.Namespace {
				t.Fatalf("seed %d: %s is of %s and of %s", seed, route.Host, n, route.Namespace)
			}
			owner[route.Host] = route.Namespace
		}
		for range 300 {
			host, path := hosts[r.IntN(len(hosts))], fmt.Sprintf("/p%d/x", r.IntN(32))
			q := &router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte(path)}
			found, _ := table.Current().Lookup(q)
			again, _ := fresh.Current().Lookup(q)
			if found == nil != (again == nil) || found != nil && found.ID() != again.ID() {
				t.Fatalf("seed %d: %s%s goes to %v and to %v", seed, host, path, found, again)
			}
			if found != nil && owner[host] != "" && found.Namespace != owner[host] {
				t.Fatalf("seed %d: %s of %s is served by %v", seed, host, owner[host], found)
			}
			table.Current().Explain(q)
		}
		b.Close()
		other.Close()
	}
}

package discovery_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/consul"
	"serai/consul/consulsim"
	"serai/discovery"
)

// consulFaults are those that a simulated agent has and a real one cannot be made to have,
// and hostile answers. Some are told as a problem, all leave what is known.
var consulFaults = map[string]consulsim.Fault{
	"no leader":                       consulsim.NoLeader(),
	"an unknown token":                consulsim.Forbidden(),
	"a right that is missing":         consulsim.Status(403, "Permission denied: token with AccessorID 'x' lacks permission 'service:read' on \"web\""),
	"too many connections":            consulsim.Status(429, "Your IP is issuing too many concurrent connections, please rate limit your calls\n"),
	"an overloaded server":            consulsim.Status(503, "rpc error making call: rate limit reached"),
	"a proxy whose agent is away":     consulsim.Status(502, "<html>Bad Gateway</html>"),
	"a web page":                      consulsim.WebPage(),
	"a redirect":                      consulsim.Redirect("http://127.0.0.1:1/"),
	"a cut answer":                    consulsim.Truncated(),
	"a silent answer":                 consulsim.Silent(),
	"a slow answer":                   consulsim.Slow(time.Hour),
	"a giant":                         consulsim.Endless(1 << 40),
	"a bomb":                          consulsim.Bomb(1 << 32),
	"deep JSON":                       consulsim.Deep(1 << 20),
	"deep JSON that does not end":     consulsim.Body("application/json", 1<<40, strings.Repeat(`[{"Node":`, 1<<18)),
	"a number":                        consulsim.Body("application/json", 1<<40, "7"),
	"a list where a map is due":       consulsim.Body("application/json", 1<<40, `[[]]`),
	"text for numbers":                consulsim.Body("application/json", 1<<40, `[{"Node": {"Node": "n1"}, "Service": {"ID": "1", "Service": "web", "Port": "80"}}]`),
	"numbers for text":                consulsim.Body("application/json", 1<<40, `[{"Node": {"Node": 1}, "Service": {"ID": 1, "Service": 2}}]`),
	"another service":                 consulsim.Body("application/json", 1<<40, `[{"Node": {"Node": "n1"}, "Service": {"ID": "1", "Service": "other"}}]`),
	"an instance without an ID":       consulsim.Body("application/json", 1<<40, `[{"Node": {"Node": "n1"}, "Service": {"Service": "web"}}]`),
	"no service":                      consulsim.Body("application/json", 1<<40, `[{"Node": {"Node": "n1"}}]`),
	"nulls":                           consulsim.Body("application/json", 1<<40, `[null]`),
	"two answers":                     consulsim.Body("application/json", 1<<40, `[][]`),
	"half of a character":             consulsim.Body("application/json", 1<<40, "[\"\xc3"),
	"no index":                        consulsim.At(0),
	"an index beyond all numbers":     consulsim.At(1<<64 - 1),
	"nothing of what is waited for":   consulsim.Unloaded(),
	"an empty list of an old cluster": consulsim.Empty(3, false),
	"an empty list, with a token":     consulsim.Empty(1<<40, true),
}

// TestConsulFaults: what an agent answers in each fault removes nothing, is told, and is
// over when the fault is.
func TestConsulFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range consulFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, w := faultyConsul(t, discovery.ConsulOptions{Ping: 50 * time.Millisecond, Hold: 100 * time.Millisecond})
			one, two := inConsul("web", "n1", "1"), inConsul("web", "n1", "2")
			var met atomic.Int64
			untold := name == "nothing of what is waited for" // whose truth is asked for at once
			remove := a.Inject("", func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if !untold || strings.HasPrefix(r.URL.Path, "/v1/health/service/") && r.URL.Query().Has("index") {
					met.Add(1)
				}
				fault(rw, r, next)
			})
			a.Disconnect() // all ask again
			if _, err := a.Register(consulsim.Registration{Node: "n1", Address: nodeAddress, Service: &consulsim.Service{ID: "other", Service: "other"}}); err != nil {
				t.Fatal(err)
			}
			w.until("the fault", func(s discovery.Status) bool {
				return met.Load() > 0 && (untold || s.Problem != "" || len(s.Forbidden) > 0)
			})
			remove()
			a.Disconnect() // and once more: some would wait for an answer for long
			consulCatalog{t: t, url: a.url}.register("n1", web("2"), consul.Passing)
			w.has(one, two)
			w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" && len(s.Forbidden) == 0 })
			w.neverWithout(one)
		})
	}
}

// faultyConsul follows a simulated agent with one instance.
func faultyConsul(t *testing.T, o discovery.ConsulOptions) (*simulatedConsul, *watch) {
	t.Helper()
	a := newSimulatedConsul(t, "").(*simulatedConsul)
	consulCatalog{t: t, url: a.url}.register("n1", web("1"), consul.Passing)
	o.Client = newConsulClient(t, consul.Options{Address: a.url, Limits: consul.Limits{Request: 2 * time.Second, Answer: 1 << 20}})
	w := followConsul(t, a.url, o)
	w.has(inConsul("web", "n1", "1"))
	w.until("life", live)
	return a, w
}

// TestConsulLosesItsLeader: what can be read stale goes on, and what cannot is told.
func TestConsulLosesItsLeader(t *testing.T) {
	t.Parallel()
	a, w := faultyConsul(t, discovery.ConsulOptions{Ping: 50 * time.Millisecond})
	a.SetLeader(false)
	w.until("the loss", func(s discovery.Status) bool { return s.Problem != "" })
	a.SetLeader(true)
	consulCatalog{t: t, url: a.url}.register("n1", web("2"), consul.Passing)
	w.has(inConsul("web", "n1", "1"), inConsul("web", "n1", "2"))
	w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" })
	w.neverWithout(inConsul("web", "n1", "1"))
}

// TestConsulRestored: a snapshot from before an instance was registered removes it only
// once it has not come back for a while; what the snapshot brings back is there.
func TestConsulRestored(t *testing.T) {
	t.Parallel()
	// A query that is sent right after the restore, with an index of before, ends with its wait.
	a, w := faultyConsul(t, discovery.ConsulOptions{Ping: 50 * time.Millisecond, Hold: 10 * time.Millisecond, Wait: 500 * time.Millisecond})
	c := consulCatalog{t: t, url: a.url}
	one, two, three := inConsul("web", "n1", "1"), inConsul("web", "n1", "2"), inConsul("web", "n1", "3")
	c.register("n1", web("2"), consul.Passing)
	w.has(one, two)
	state := a.Save()
	c.deregister("n1", "2")
	c.register("n1", web("3"), consul.Passing)
	w.has(one, three)
	a.Restore(state)
	w.has(one, two)
	w.neverWithout(one)
}

// TestConsulServerIsBehind: what has gone does not come back from a server that has started anew
// and has not read its log yet, whether or not it leads, nor is Consul taken for restored then.
func TestConsulServerIsBehind(t *testing.T) {
	t.Parallel()
	a, w := faultyConsul(t, discovery.ConsulOptions{Ping: 50 * time.Millisecond})
	c := consulCatalog{t: t, url: a.url}
	one, three, four := inConsul("web", "n1", "1"), inConsul("web", "n1", "3"), inConsul("web", "n1", "4")
	c.register("n1", web("2"), consul.Passing)
	w.has(one, inConsul("web", "n1", "2"))
	state := a.Save()
	c.deregister("n1", "2")
	c.register("n1", web("3"), consul.Passing)
	w.has(one, three)
	seen := w.count()
	var services, instances atomic.Int64
	behind := consulsim.Behind(state)
	remove := a.Inject("", func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1/catalog/services"):
			services.Add(1)
		case strings.HasPrefix(r.URL.Path, "/v1/health/service/web"):
			instances.Add(1)
		}
		behind(rw, r, next)
	})
	a.Disconnect()
	w.until("answers of it", func(discovery.Status) bool { return services.Load() > 5 && instances.Load() > 5 })
	remove()
	c.register("n1", web("4"), consul.Passing)
	w.has(one, three, four)
	s := w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" })
	if strings.Contains(s.Problem, "went back") {
		t.Errorf("Consul is taken for restored: %s", s.Problem)
	}
	for _, ids := range w.since(seen) {
		if slices.Contains(ids, inConsul("web", "n1", "2")) {
			t.Errorf("what has gone came back: %v", ids)
		}
	}
}

// TestConsulAntiEntropy: what an agent has registered while it reached no server comes, and
// what it has deregistered goes, once it does.
func TestConsulAntiEntropy(t *testing.T) {
	t.Parallel()
	a, w := faultyConsul(t, discovery.ConsulOptions{})
	c := consulCatalog{t: t, url: a.url}
	one := inConsul("web", "n1", "1")
	register := func(id string) {
		c.put("/v1/agent/service/register", map[string]any{"ID": id, "Name": "web", "Tags": []string{ours}, "Address": "10.0.0.1", "Port": 80})
	}
	register("2")
	w.has(one, inConsul("web", "node1", "2"))
	a.HoldSync(true)
	register("3")
	c.put("/v1/agent/service/deregister/2", nil)
	a.HoldSync(false)
	w.has(one, inConsul("web", "node1", "3"))
	// Somebody else removed it: the agent registers it again.
	c.deregister("node1", "3")
	w.has(one)
	a.Sync()
	w.has(one, inConsul("web", "node1", "3"))
	w.neverWithout(one)
}

// TestConsulLimitsConnections: an agent that accepts fewer connections than there are
// services is followed all the same.
func TestConsulLimitsConnections(t *testing.T) {
	t.Parallel()
	a := &simulatedConsul{Sim: consulsim.New(consulsim.Options{MaxConns: 16}), t: t}
	var all []string
	for n := range 40 {
		name := fmt.Sprint("s", n)
		reg := consulsim.Registration{Node: "n1", Address: nodeAddress, Service: &consulsim.Service{ID: name, Service: name, Tags: []string{ours}, Port: 80}}
		if _, err := a.Register(reg); err != nil {
			t.Fatal(err)
		}
		all = append(all, inConsul(name, "n1", name))
	}
	a.start()
	t.Cleanup(func() { a.stop() })
	w := followConsul(t, a.url, discovery.ConsulOptions{Watches: 8, Ping: 50 * time.Millisecond})
	w.has(all...)
}

// TestConsulNoCircle: an agent that does not wait, and whose index goes back and forth, is not
// asked again and again.
func TestConsulNoCircle(t *testing.T) {
	t.Parallel()
	a, w := faultyConsul(t, discovery.ConsulOptions{})
	defer a.Inject("health/service", consulsim.Unloaded())()
	a.Disconnect() // all ask again
	before := a.Counts().Requests["health/service"]
	time.Sleep(3 * time.Second)
	if n := a.Counts().Requests["health/service"] - before; n > 40 {
		t.Errorf("%d requests in three seconds", n)
	}
	w.neverWithout(inConsul("web", "n1", "1"))
}

// TestConsulIndexRises: an agent that answers each query that waits at once, at a higher index, has
// each asked ten times a second only; and what changes meanwhile is known.
func TestConsulIndexRises(t *testing.T) {
	t.Parallel()
	a, w := faultyConsul(t, discovery.ConsulOptions{Watches: 1})
	c := consulCatalog{t: t, url: a.url}
	for n := range 4 {
		c.register("n1", consulService{ID: fmt.Sprint("more", n), Service: fmt.Sprint("more", n), Tags: []string{ours}, Port: 80}, consul.Critical)
	}
	w.until("all services", func(s discovery.Status) bool { return s.Services == 5 })
	defer a.Inject("", consulsim.Rising())()
	a.Disconnect() // all ask again
	before, most := a.Counts().Requests, 0
	time.Sleep(5 * time.Second)
	for kind, n := range a.Counts().Requests {
		if n -= before[kind]; n > 650 {
			t.Errorf("%s: %d requests in five seconds", kind, n)
		}
		most = max(most, n)
	}
	if most < 20 {
		t.Errorf("at most %d requests: the index does not rise", most)
	}
	c.register("n1", web("2"), consul.Passing)
	w.until("the second instance", func(s discovery.Status) bool { return s.Instances == 6 })
}

// TestConsulIndexRisesForMany: an agent that answers very many queries at once, at a higher index, is
// not asked ten times a second for each; and what changes meanwhile is known.
func TestConsulIndexRisesForMany(t *testing.T) {
	t.Parallel()
	a, w := faultyConsul(t, discovery.ConsulOptions{})
	c := consulCatalog{t: t, url: a.url}
	const many = 100
	for n := range many {
		c.register("n1", consulService{ID: fmt.Sprint("more", n), Service: fmt.Sprint("more", n), Tags: []string{ours}, Port: 80}, consul.Critical)
	}
	w.until("all services", func(s discovery.Status) bool { return s.Services == many+1 })
	defer a.Inject("health/service", consulsim.Rising())()
	a.Disconnect() // all ask again
	before := a.Counts().Requests["health/service"]
	time.Sleep(5 * time.Second)
	// Each on its own: fifty at once and ten a second, which is 10,000.
	if n := a.Counts().Requests["health/service"] - before; n < many || n > 3500 {
		t.Errorf("%d requests in five seconds", n)
	}
	c.register("n1", web("2"), consul.Passing)
	w.until("the second instance", func(s discovery.Status) bool { return s.Instances == many+2 })
}

// TestConsulHiddenFromTheList: an agent goes on to answer queries for a service from what it
// follows already, after requests without a token have lost their rights. That the service is not
// listed any more shows it, and goes on to.
func TestConsulHiddenFromTheList(t *testing.T) {
	t.Parallel()
	a, w := faultyConsul(t, discovery.ConsulOptions{Wait: 100 * time.Millisecond})
	one, two := inConsul("web", "n1", "1"), inConsul("web", "n1", "2")
	var waits, hidden atomic.Int64
	remove := a.Inject("", func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		p := r.URL.Query()
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1/health/") && p.Has("index"):
			waits.Add(1)
			rw.Header().Set("X-Consul-Default-ACL-Policy", "deny")
			next.ServeHTTP(rw, r)
		case strings.HasPrefix(r.URL.Path, "/v1/status/") || r.Method != http.MethodGet:
			next.ServeHTTP(rw, r)
		default:
			hidden.Add(1)
			rw.Header().Set("X-Consul-Default-ACL-Policy", "deny")
			consulsim.Empty(a.Index(), false)(rw, r, next)
		}
	})
	told := func(s discovery.Status) bool { return len(s.Forbidden) > 0 }
	consulCatalog{t: t, url: a.url}.register("n2", consulService{ID: "o", Service: "other"}, consul.Passing)
	w.until("the missing right", told)
	before, lists := waits.Load(), hidden.Load()
	w.until("more answers", func(discovery.Status) bool { return waits.Load() > before+5 && hidden.Load() > lists })
	if s := w.status()[0]; !told(s) {
		t.Errorf("a right is still missing: %+v", s)
	}
	consulCatalog{t: t, url: a.url}.register("n1", web("2"), consul.Passing)
	w.has(one, two)
	remove()
	w.until("the right", func(s discovery.Status) bool { return !told(s) })
	w.has(one, two)
	w.neverWithout(one)
}

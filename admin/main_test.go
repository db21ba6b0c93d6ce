package admin_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/admin"
	"serai/discovery"
	"serai/proxy"
	"serai/router"
	"serai/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a serai without listeners, and its admin behind a socket.
type node struct {
	testing.TB
	admin    *admin.Admin
	registry *upstream.Registry
	router   *router.Router
	builder  *router.Builder
	proxy    *proxy.Proxy
	url      string
	known    map[discovery.Key]*discovery.Service
	index    uint64
	now      time.Time
}

// newNode makes a node. Required options that are missing in o are filled in.
func newNode(t testing.TB, o admin.Options, routes router.Options) *node {
	t.Helper()
	n := &node{TB: t, registry: upstream.NewRegistry(upstream.RegistryOptions{}), router: router.NewRouter(),
		known: make(map[discovery.Key]*discovery.Service), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	var err error
	routes.Registry, routes.Now = n.registry, func() time.Time { return n.now }
	if n.builder, err = router.NewBuilder(n.router, routes); err != nil {
		t.Fatal(err)
	}
	if n.proxy, err = proxy.New(proxy.Options{Router: n.router}); err != nil {
		t.Fatal(err)
	}
	o.Router, o.Registry, o.Proxy, o.Version = n.router, n.registry, n.proxy, "1.2.3"
	if n.admin, err = admin.New(o); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(n.admin.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	n.url = server.URL
	return n
}

// probe lets the registry reach its endpoints until the test ends.
func (n *node) probe() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.registry.Run(ctx) })
	n.Cleanup(func() { cancel(); running.Wait() })
}

// set sets the instances of a service, removes it when there are none, and publishes a
// table.
func (n *node) set(name string, instances ...*discovery.Instance) {
	n.index++
	key := discovery.Key{Namespace: "default", Name: name}
	delete(n.known, key)
	for i, instance := range instances {
		instance.Namespace, instance.Service = key.Namespace, name
		instance.ID = cmp.Or(instance.ID, name+"-"+string(rune('a'+i)))
		instance.Created = cmp.Or(instance.Created, n.index)
		instance.Modified = n.index
	}
	if len(instances) > 0 {
		n.known[key] = &discovery.Service{Key: key, Instances: instances}
	}
	n.publish()
}

func (n *node) publish() {
	s := &discovery.Snapshot{Services: n.known, Index: n.index, Changed: time.Now()}
	n.builder.Update(s)
	n.admin.Published(s, time.Since(s.Changed))
}

// load publishes the registrations of a file.
func (n *node) load(file string) {
	n.Helper()
	var all []*discovery.Instance
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		n.Fatal(err)
	}
	for _, i := range all {
		key := discovery.Key{Namespace: i.Namespace, Name: i.Service}
		if n.known[key] == nil {
			n.known[key] = &discovery.Service{Key: key}
		}
		n.known[key].Instances = append(n.known[key].Instances, i)
		n.index = max(n.index, i.Modified)
	}
	n.publish()
}

// instance is an instance on an address on which nothing listens.
func instance(tags ...string) *discovery.Instance {
	return &discovery.Instance{Address: "10.0.0.1", Port: 80, Tags: tags}
}

// stats returns the counters of a service's first route.
func (n *node) stats(service string) *router.Stats {
	n.Helper()
	for _, r := range n.router.Current().Routes() {
		if r.Service == service {
			return r.Stats
		}
	}
	n.Fatalf("service %s has no route", service)
	return nil
}

// call simulates a request that was answered.
func call(s *router.Stats, status int) {
	s.Begin()
	s.Observe(0, &router.Observation{Status: status, Duration: 3 * time.Millisecond, BytesIn: 10, BytesOut: 100, Retries: 1, GRPC: 14, IsGRPC: true})
}

// get asks the admin.
func (n *node) get(path string) (int, string) {
	n.Helper()
	res, err := http.Get(n.url + path)
	if err != nil {
		n.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		n.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// read asks for JSON.
func (n *node) read(path string, v any) int {
	n.Helper()
	status, body := n.get(path)
	if err := json.Unmarshal([]byte(body), v); err != nil {
		n.Fatalf("%s answered %d %s: %v", path, status, body, err)
	}
	return status
}

// metric returns the lines of /metrics with this prefix.
func (n *node) metric(prefix string) string {
	n.Helper()
	_, body := n.get("/metrics")
	var lines strings.Builder
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, prefix) {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it):\n%s", path, got)
	}
}

// sources is a Reporter that says what a test wants.
type sources struct {
	mu   sync.Mutex
	list []discovery.Status
}

func (s *sources) set(list ...discovery.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = list
}

func (s *sources) Status() []discovery.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]discovery.Status(nil), s.list...)
}

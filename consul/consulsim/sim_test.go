package consulsim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"serai/consul/consulsim"
)

// What a real agent cannot be made to do at will is tested only on the simulator.

// simulator is one with the service "web", and a caller.
func simulator(t *testing.T, o consulsim.Options) (*consulsim.Sim, *caller) {
	t.Helper()
	c := newSimCluster(t, o)
	return c.sim, callerOf(t, c, c.root)
}

func external(node, service string, port int) consulsim.Registration {
	return consulsim.Registration{Node: node, Address: "10.0.0.2", Service: &consulsim.Service{Service: service, Port: port}}
}

// TestFaults makes each fault that is one answer, and reads as a client does.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  consulsim.Fault
		status int
		body   string
		head   string // a line that the head has, or else lacks, when it begins with "-"
		err    error
	}{
		"no leader":         {consulsim.NoLeader(), 500, "No cluster leader", "", nil},
		"forbidden":         {consulsim.Forbidden(), 403, "ACL not found", "", nil},
		"empty":             {consulsim.Empty(70, false), 200, "[]", "-X-Consul-Results-Filtered-By-Acls: true", nil},
		"empty, and hidden": {consulsim.Empty(70, true), 200, "[]", "X-Consul-Results-Filtered-By-Acls: true", nil},
		"index reset":       {consulsim.At(3), 200, "web", "X-Consul-Index: 3", nil},
		"no index":          {consulsim.At(0), 200, "web", "-X-Consul-Index", nil},
		"web page":          {consulsim.WebPage(), 200, "<!DOCTYPE", "Content-Type: text/html", nil},
		"wrong types":       {consulsim.Body("application/json", 70, `{"Node":1}`), 200, `{"Node":1}`, "X-Consul-Index: 70", nil},
		"deep":              {consulsim.Deep(5), 200, "[[[[[]]]]]", "", nil},
		"endless":           {consulsim.Endless(5), 200, "[]", "", nil},
		"bomb":              {consulsim.Bomb(5), 200, "", "Content-Encoding: gzip", nil},
		"cut":               {consulsim.Truncated(), 200, "", "", io.ErrUnexpectedEOF},
		"redirect":          {consulsim.Redirect("/v1/status/leader"), 200, "127.0.0.1:8300", "", nil},
		"slow":              {consulsim.Slow(time.Millisecond), 200, "web", "", nil},
		"lost leader":       {consulsim.Lost(time.Minute), 500, "No cluster leader", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			sim, api := simulator(t, consulsim.Options{})
			if _, err := sim.Register(external("n2", "web", 80)); err != nil {
				t.Fatal(err)
			}
			remove := sim.Inject("health/service", tc.fault)
			a, err := api.try(t.Context(), "GET", healthWeb, "")
			if !errors.Is(err, tc.err) || a.status != tc.status && tc.err == nil || !strings.Contains(a.body, tc.body) {
				t.Errorf("%d %v %s, %v; want %d %s, %v", a.status, a.head, a.body, err, tc.status, tc.body, tc.err)
			}
			var head strings.Builder
			a.head.Write(&head)
			line, lacks := strings.CutPrefix(tc.head, "-")
			if tc.err == nil && strings.Contains(head.String(), line) == lacks && line != "" {
				t.Errorf("head %q; want (not: %v) %q", head.String(), lacks, line)
			}
			if a := api.get(t, "/v1/catalog/services"); !strings.Contains(a.body, "web") {
				t.Errorf("a request of another kind: %s", a.body)
			}
			remove()
			if a := api.get(t, healthWeb); !strings.Contains(a.body, "web") || len(instances(t, a)) != 1 {
				t.Errorf("afterwards: %s", a.body)
			}
		})
	}
}

// TestTimes: a fault that passes.
func TestTimes(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{})
	defer sim.Inject("", consulsim.Times(2, consulsim.NoLeader()))()
	for i, want := range []int{500, 500, 200} {
		if a := api.do(t, "GET", "/v1/catalog/nodes", ""); a.status != want {
			t.Errorf("request %d: %d; want %d", i, a.status, want)
		}
	}
}

// TestSilent: an answer whose body never comes ends when the client leaves.
func TestSilent(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{})
	defer sim.Inject("", consulsim.Silent())()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", api.address+healthWeb, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := api.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("read of a silent body: %v", err)
	}
}

// TestKilled: a waiting query ends, nobody listens, and another run on the same address
// knows everything.
func TestKilled(t *testing.T) {
	sim := consulsim.New(consulsim.Options{})
	if _, err := sim.Register(external("n2", "web", 80)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	run := func(l net.Listener) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- sim.Run(ctx, l) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("run: %v", err)
			}
		}
	}
	stop := run(l)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	api := &caller{"http://" + address, "", &http.Client{Transport: tr}}
	w := api.block(t, healthWeb, api.get(t, healthWeb).index(t), "10m")
	for end := time.Now().Add(testTimeout); sim.Counts().Blocked == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	stop()
	if r := <-w.done; r.err == nil {
		t.Errorf("the query that waited: %d %s; want an error", r.answer.status, r.answer.body)
	}
	if a, err := api.try(t.Context(), "GET", healthWeb, ""); err == nil {
		t.Errorf("an agent that was killed answers %d %s", a.status, a.body)
	}
	if l, err = net.Listen("tcp", address); err != nil {
		t.Skipf("somebody else took the port: %v", err)
	}
	stop = run(l)
	defer stop()
	if a := api.get(t, healthWeb); len(instances(t, a)) != 1 {
		t.Errorf("after a restart: %s", a.body)
	}
}

// TestPartition: nothing arrives, on old connections and on new ones, until it is healed.
func TestPartition(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{})
	api.get(t, healthWeb)
	before := sim.Counts().Requests["health/service"]
	sim.Partition(true)
	var waiting []*waiter
	for range 3 { // one on the idle connection, and two on new ones
		waiting = append(waiting, api.block(t, healthWeb, 0, "1s"))
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(api.address, "http://"))
	if err != nil {
		t.Errorf("a new connection: %v; want one that is accepted", err)
	} else {
		c.Close()
	}
	if n := sim.Counts().Requests["health/service"]; n != before {
		t.Errorf("%d requests have arrived", n-before)
	}
	for _, w := range waiting {
		select {
		case r := <-w.done:
			t.Errorf("an answer through the cut: %+v", r)
		default:
		}
	}
	sim.Partition(false)
	for _, w := range waiting {
		if a := w.woken(t); a.status != 200 {
			t.Errorf("after the cut: %d %s", a.status, a.body)
		}
	}
}

// TestLeader: without a leader nothing is read but what may be stale, and nothing is
// written, until one comes within the hold.
func TestLeader(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{Hold: time.Hour})
	if _, err := sim.Register(external("n2", "web", 80)); err != nil {
		t.Fatal(err)
	}
	sim.SetLeader(false)
	a := api.get(t, healthWeb+"?stale")
	if len(instances(t, a)) != 1 || a.head.Get("X-Consul-KnownLeader") != "false" {
		t.Errorf("stale, without a leader: %v %s", a.head, a.body)
	}
	w := api.block(t, healthWeb, 0, "1s")
	sim.SetLeader(true)
	if a := w.woken(t); a.status != 200 || len(instances(t, a)) != 1 {
		t.Errorf("a request that waited for a leader: %d %s", a.status, a.body)
	}
}

// TestSyncDelay: what the agent is told reaches the catalog by and by.
func TestSyncDelay(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{SyncDelay: time.Hour})
	none := func(what string) {
		t.Helper()
		if a := api.get(t, healthWeb); a.body != "[]" {
			t.Errorf("%s: %s; want nothing yet", what, a.body)
		}
	}
	api.put(t, register, webTTL)
	none("registered")
	sim.Advance(59 * time.Minute)
	none("a minute before the delay is over")
	w := api.block(t, healthWeb, api.get(t, healthWeb).index(t), "10m")
	sim.Advance(time.Minute)
	if a := w.woken(t); len(instances(t, a)) != 1 {
		t.Errorf("after the delay: %s", a.body)
	}
}

// TestHeldSync: an agent that reaches no server knows its own services; what it was told
// meanwhile comes when it does, also the end of what was there before.
func TestHeldSync(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{})
	api.put(t, register, webTTL)
	sim.HoldSync(true)
	api.put(t, register, `{"Name": "new"}`)
	api.put(t, "/v1/agent/check/fail/service:web", "")
	if a := api.get(t, healthWeb); !status(t, "passing")(a) {
		t.Errorf("a failure that nobody can tell the servers: %s", a.body)
	}
	if a := api.get(t, "/v1/agent/checks"); !strings.Contains(a.body, "critical") {
		t.Errorf("the agent's own checks: %s", a.body)
	}
	sim.HoldSync(false)
	if a := api.get(t, healthWeb); !status(t, "critical")(a) {
		t.Errorf("once the servers can be reached: %s", a.body)
	}
	sim.HoldSync(true)
	api.put(t, deregister+"web", "")
	if a := api.get(t, healthWeb); len(instances(t, a)) != 1 {
		t.Errorf("a deregistration that nobody can tell the servers: %s", a.body)
	}
	sim.HoldSync(false)
	if a := api.get(t, "/v1/catalog/services"); strings.Contains(a.body, "web") || !strings.Contains(a.body, "new") {
		t.Errorf("in the end: %s", a.body)
	}
}

// TestOutputWaits: new output without a new state is brought into the catalog minutes
// later. Source: check_update_interval, 5m.
func TestOutputWaits(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{})
	api.put(t, register, webTTL)
	index := api.get(t, healthWeb).index(t)
	api.put(t, "/v1/agent/check/pass/service:web?note=fine", "")
	if a := api.get(t, healthWeb); a.index(t) != index || strings.Contains(a.body, "fine") {
		t.Errorf("at once: %s", a.body)
	}
	sim.Advance(10 * time.Minute)
	if a := api.get(t, healthWeb); a.index(t) == index || !strings.Contains(a.body, "fine") {
		t.Errorf("ten minutes later: %s", a.body)
	}
}

// TestAdvanceTTL: a TTL ends by the agent's time, and wakes who waits.
func TestAdvanceTTL(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{})
	api.put(t, register, webTTL)
	w := api.block(t, healthWeb, api.get(t, healthWeb).index(t), "10m")
	sim.Advance(time.Hour)
	if a := w.woken(t); !status(t, "critical")(a) {
		t.Errorf("after the TTL: %s", a.body)
	}
}

// TestFailNode: the loss of a node is a critical check of all its instances.
func TestFailNode(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{})
	if _, err := sim.Register(external("n2", "web", 80), external("n3", "web", 81)); err != nil {
		t.Fatal(err)
	}
	for _, failed := range []bool{true, false} {
		w := api.block(t, healthWeb, api.get(t, healthWeb).index(t), "10m")
		sim.FailNode("n2", failed)
		want := 2
		if failed {
			want = 1
		}
		w.woken(t)
		if a := api.get(t, healthWeb+"?passing"); len(instances(t, a)) != want {
			t.Errorf("node failed: %v: %s; want %d passing", failed, a.body, want)
		}
	}
}

// TestSetCheck is the result of a check that the agent runs.
func TestSetCheck(t *testing.T) {
	sim, api := simulator(t, consulsim.Options{})
	api.put(t, register, `{"Name": "web", "Check": {"HTTP": "http://127.0.0.1:1/", "Interval": "10s"}}`)
	if a := api.get(t, healthWeb); !status(t, "critical")(a) {
		t.Errorf("before the first result: %s", a.body)
	}
	sim.SetCheck("service:web", consulsim.Passing, "200 OK")
	if a := api.get(t, healthWeb); !status(t, "passing")(a) || !strings.Contains(a.body, "200 OK") {
		t.Errorf("after it: %s", a.body)
	}
}

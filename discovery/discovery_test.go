package discovery_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"go.uber.org/goleak"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// TestMain runs more tests at once than there are processors, unless the command line
// has -parallel: parallel tests spend nearly all their time waiting.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8")
	goleak.VerifyTestMain(m)
}

// long bounds every wait of these tests; nothing takes nearly as long.
const long = time.Minute

// reg is a registration of the default namespace, with our tag.
func reg(service, id string) nomad.Registration { return regIn("default", service, id) }

func regIn(namespace, service, id string) nomad.Registration {
	return nomad.Registration{
		ID: id, ServiceName: service, Namespace: namespace, NodeID: "node-" + id, AllocID: "alloc-" + id, JobID: service,
		Datacenter: "dc1", Tags: []string{"ingress.host=" + service}, Address: "10.0.0.1", Port: 80,
	}
}

// agent is a simulated agent on a socket.
type agent struct {
	*nomadsim.Sim
	url  string
	stop func()
}

func newAgent(t *testing.T, o nomadsim.Options) *agent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{Sim: nomadsim.New(o), url: "http://" + l.Addr().String()}
	a.stop = a.run(l)
	t.Cleanup(func() { a.stop() })
	return a
}

func (a *agent) run(l net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		a.Run(ctx, l)
		close(ended)
	}()
	var once sync.Once
	return func() { once.Do(func() { cancel(); <-ended }) }
}

// away stops the agent and returns a function that restarts it.
func (a *agent) away(t *testing.T) (back func()) {
	a.stop()
	return func() {
		l, err := net.Listen("tcp", strings.TrimPrefix(a.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		a.stop = a.run(l)
	}
}

// watch is a running source and the newest of its snapshots.
type watch struct {
	t       *testing.T
	status  func() []discovery.Status
	mu      sync.Mutex
	newest  *discovery.Snapshot
	all     []*discovery.Snapshot
	changed chan struct{}
	stop    func()
	told    func(discovery.Instance) discovery.Instance // nil for no difference
}

func follow(t *testing.T, s discovery.Source) *watch {
	t.Helper()
	w := &watch{t: t, status: s.Status, changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan *discovery.Snapshot)
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx, out) })
	running.Go(func() {
		for {
			select {
			case s := <-out:
				w.mu.Lock()
				w.newest, w.all = s, append(w.all, s)
				w.mu.Unlock()
				select {
				case w.changed <- struct{}{}:
				default:
				}
			case <-ctx.Done():
				return
			}
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	t.Cleanup(w.stop)
	return w
}

// nomadWatch watches an agent.
func nomadWatch(t *testing.T, a *agent, o discovery.WatcherOptions) *watch {
	t.Helper()
	if o.Client == nil {
		o.Client = newClient(t, nomad.Options{Address: a.url})
	}
	all, err := discovery.NewWatchers(o)
	if err != nil {
		t.Fatal(err)
	}
	var sources []discovery.Source
	for _, w := range all {
		sources = append(sources, w)
	}
	return follow(t, discovery.Merge(sources...))
}

func newClient(t *testing.T, o nomad.Options) *nomad.Client {
	c, err := nomad.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// ids are the instances of a snapshot, as namespace/service/id.
func ids(s *discovery.Snapshot) (all []string) {
	if s == nil {
		return nil
	}
	for key, service := range s.Services {
		for _, i := range service.Instances {
			all = append(all, key.Namespace+"/"+key.Name+"/"+i.ID)
		}
	}
	slices.Sort(all)
	return all
}

// has waits until the newest snapshot has exactly these instances.
func (w *watch) has(want ...string) *discovery.Snapshot {
	w.t.Helper()
	slices.Sort(want)
	deadline := time.After(long)
	for {
		w.mu.Lock()
		s := w.newest
		w.mu.Unlock()
		if s != nil && slices.Equal(ids(s), want) {
			return s
		}
		select {
		case <-w.changed:
		case <-deadline:
			w.t.Fatalf("the newest snapshot has %v, want %v; status %+v", ids(s), want, w.status())
		}
	}
}

// until waits for a status.
func (w *watch) until(what string, holds func(discovery.Status) bool) discovery.Status {
	w.t.Helper()
	for end := time.Now().Add(long); ; time.Sleep(2 * time.Millisecond) {
		for _, s := range w.status() {
			if holds(s) {
				return s
			}
		}
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain for %s: %+v", what, w.status())
		}
	}
}

func live(s discovery.Status) bool { return s.Phase == discovery.Live }

// count is how many snapshots there were, and since the IDs of those after as many.
func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

func (w *watch) since(n int) (all [][]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all[n:] {
		all = append(all, ids(s))
	}
	return all
}

// neverWithout fails when a snapshot lacks an instance.
func (w *watch) neverWithout(id string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, s := range w.all {
		if !slices.Contains(ids(s), id) {
			w.t.Errorf("snapshot %d of %d lacks %s: %v", i+1, len(w.all), id, ids(s))
		}
	}
}

func TestFollowsEveryChange(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"), reg("api", "2"))
	other := reg("db", "3")
	other.Tags = []string{"primary"}
	a.Register(other)
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	first := w.has("default/web/1", "default/api/2")
	if first.Partial || first.Origin != discovery.OriginLive || first.Read.IsZero() {
		t.Errorf("the first snapshot is %+v", first)
	}
	a.Register(reg("web", "4"))
	next := w.has("default/web/1", "default/web/4", "default/api/2")
	if next.Changed.IsZero() || next.Index < first.Index {
		t.Errorf("a change brought %+v after %+v", next, first)
	}
	api := discovery.Key{Namespace: "default", Name: "api"}
	if next.Services[api] != first.Services[api] {
		t.Error("a service that did not change has a new pointer")
	}
	a.Deregister("default", "1")
	w.has("default/web/4", "default/api/2")
	a.StopAlloc("alloc-4") // has another type than a deregistration
	w.has("default/api/2")
	a.StopNode("node-2")
	w.has()
	a.Register(reg("web", "5"))
	w.has("default/web/5")
	if n := a.Counts().Requests[nomad.KindService]; n != 2 {
		t.Errorf("%d services were read, want the two that carried our tag at the start", n)
	}
}

// TestPromotion: tags replace canary_tags on the same ID.
func TestPromotion(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	canary := reg("web", "1")
	canary.Tags = []string{"ingress.host=web", "ingress.canary=10%"}
	a.Register(canary)
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	w.has("default/web/1")
	a.Promote("default", "1", []string{"ingress.host=web"})
	for {
		s := w.has("default/web/1")
		if len(s.Services[discovery.Key{Namespace: "default", Name: "web"}].Instances[0].Tags) == 1 {
			return
		}
		<-w.changed
	}
}

// TestWithdrawnTags: an instance that drops our tags stays known, so that the router
// can distinguish a withdrawal from a departure.
func TestWithdrawnTags(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	w.has("default/web/1")
	a.Promote("default", "1", []string{"other"})
	for w.newestTags("web")[0] != "other" {
		<-w.changed
	}
}

func (w *watch) newestTags(service string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest.Services[discovery.Key{Namespace: "default", Name: service}].Instances[0].Tags
}

// TestBreaks: whatever ends the stream, everything that changed meanwhile is known
// afterwards, and nothing is forgotten in between.
func TestBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		limits nomad.Limits
		act    func(t *testing.T, a *agent) (heal func())
	}{
		"the agent is away":   {act: func(t *testing.T, a *agent) func() { return a.away(t) }},
		"the streams end":     {act: func(t *testing.T, a *agent) func() { a.EndStreams(); return func() {} }},
		"connections are cut": {act: func(t *testing.T, a *agent) func() { a.Disconnect(); return func() {} }},
		"the cable is pulled": {
			limits: nomad.Limits{Heartbeat: 200 * time.Millisecond, FirstLine: 2 * time.Second, Request: 2 * time.Second},
			act: func(t *testing.T, a *agent) func() {
				a.Partition(true)
				return func() { a.Partition(false) }
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, nomadsim.Options{Heartbeat: 10 * time.Millisecond})
			a.Register(reg("web", "1"), reg("old", "2"), reg("stays", "0"))
			w := nomadWatch(t, a, discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: a.url, Limits: c.limits})})
			w.has("default/web/1", "default/old/2", "default/stays/0")
			w.until("life", live)
			heal := c.act(t, a)
			w.until("the loss", func(s discovery.Status) bool { return s.Breaks > 0 })
			a.Deregister("default", "2")
			a.Register(reg("new", "3"), reg("web", "4"))
			a.Noise(300) // the buffer forgets both
			heal()
			w.has("default/web/1", "default/web/4", "default/new/3", "default/stays/0")
			w.until("life again", live)
			w.neverWithout("default/stays/0")
		})
	}
}

func TestStaleSince(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	w.has("default/web/1")
	w.until("life", live)
	a.away(t)
	s := w.until("staleness", func(s discovery.Status) bool { return s.Phase == discovery.Stale })
	if s.Since.IsZero() || s.Problem == "" || !s.Ready() {
		t.Errorf("status %+v", s)
	}
	w.has("default/web/1")
}

// TestBadAnswersChangeNothing: no bad answer of an agent removes a service.
func TestBadAnswersChangeNothing(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]nomadsim.Fault{
		"no leader": nomadsim.NoLeader(), "forbidden": nomadsim.Forbidden(), "web page": nomadsim.WebPage(),
		"truncated": nomadsim.Truncated(), "redirect": nomadsim.Redirect("http://192.0.2.1/"), "nothing at index 0": nomadsim.Empty(0),
		"wrong type": nomadsim.Body("application/json", 1000, `{"a":1}`), "null": nomadsim.Body("application/json", 1000, "null"),
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, nomadsim.Options{})
			a.Register(reg("web", "1"))
			w := nomadWatch(t, a, discovery.WatcherOptions{})
			w.has("default/web/1")
			w.until("life", live)
			other := reg("other", "3")
			other.Tags = nil
			for _, kind := range []string{nomad.KindServices, nomad.KindService} {
				remove := a.Inject(kind, fault)
				before := a.Counts().Requests[kind]
				a.EndStreams()
				a.Load(other) // no event shows that nothing was missed
				a.Noise(200)
				w.until("a try", func(discovery.Status) bool { return a.Counts().Requests[kind] > before })
				remove()
			}
			a.Register(reg("web", "2"))
			w.has("default/web/1", "default/web/2")
			w.neverWithout("default/web/1")
		})
	}
}

// TestPublishedBeforeCommitted: an event may be ahead of lists.
func TestPublishedBeforeCommitted(t *testing.T) {
	a := newAgent(t, nomadsim.Options{CommitDelay: 30 * time.Millisecond})
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	var want []string
	for i := range 30 {
		id := fmt.Sprint(i)
		a.Register(reg("web", id))
		want = append(want, "default/web/"+id)
		if i%10 == 5 {
			a.EndStreams()
		}
	}
	w.has(want...)
}

func TestNamespaces(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.CreateNamespace("team-a")
	a.CreateNamespace("team-b")
	a.Register(regIn("team-a", "web", "1"), regIn("team-b", "web", "2"), reg("web", "3"))
	parse := func(patterns ...string) *discovery.Namespaces {
		n, err := discovery.ParseNamespaces(patterns)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	nomadWatch(t, a, discovery.WatcherOptions{Namespaces: parse("*", "!team-b")}).has("team-a/web/1", "default/web/3")
	nomadWatch(t, a, discovery.WatcherOptions{Namespaces: parse("team-*")}).has("team-a/web/1", "team-b/web/2")
	named := nomadWatch(t, a, discovery.WatcherOptions{Namespaces: parse("team-a", "default")})
	named.has("team-a/web/1", "default/web/3")
	all := nomadWatch(t, a, discovery.WatcherOptions{})
	all.has("team-a/web/1", "team-b/web/2", "default/web/3")
	all.until("life", live)
	// A running stream never reports a namespace that was created later.
	a.CreateNamespace("team-c")
	a.Register(regIn("team-c", "web", "4"))
	all.has("team-a/web/1", "team-b/web/2", "default/web/3", "team-c/web/4")
	a.Deregister("team-c", "4")
	all.has("team-a/web/1", "team-b/web/2", "default/web/3")
	named.has("team-a/web/1", "default/web/3")
}

// TestRefusedStream follows lists, and says which policy is missing.
func TestRefusedStream(t *testing.T) {
	for name, refusal := range map[string]nomadsim.Refusal{"end": nomadsim.RefusalEOF, "silence": nomadsim.RefusalSilence, "403": nomadsim.RefusalForbidden} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, nomadsim.Options{ACL: true, Refusal: refusal})
			a.PutToken(nomadsim.Token{Secret: "s", Workload: true, Namespace: "default", Job: "serai"})
			a.Register(reg("web", "1"))
			client := newClient(t, nomad.Options{Address: a.url, Token: "s", Limits: nomad.Limits{FirstLine: 50 * time.Millisecond}})
			w := nomadWatch(t, a, discovery.WatcherOptions{Client: client, Retry: 100 * time.Millisecond})
			w.has("default/web/1")
			s := w.until("polling", func(s discovery.Status) bool { return s.Phase == discovery.Polling })
			if !strings.Contains(s.Problem, `capabilities = ["read-job"]`) {
				t.Errorf("the problem does not name the policy: %s", s.Problem)
			}
			a.Register(reg("web", "2"))
			w.has("default/web/1", "default/web/2")
			a.Deregister("default", "1")
			w.has("default/web/2")
			a.PutToken(nomadsim.Token{Secret: "s", Workload: true, Namespace: "default", Job: "serai", Rules: []nomadsim.Rule{{Namespace: "*", Capabilities: []string{"read-job"}}}})
			w.until("life, once it is allowed", live)
			w.neverWithoutAny()
		})
	}
}

// neverWithoutAny fails when a snapshot is empty.
func (w *watch) neverWithoutAny() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, s := range w.all {
		if len(s.Services) == 0 {
			w.t.Errorf("snapshot %d of %d is empty", i+1, len(w.all))
		}
	}
}

// TestRightsTakenAway: when a token loses its permissions nothing is forgotten.
func TestRightsTakenAway(t *testing.T) {
	a := newAgent(t, nomadsim.Options{ACL: true})
	rules := []nomadsim.Rule{{Namespace: "*", Capabilities: []string{"read-job"}}}
	a.PutToken(nomadsim.Token{Secret: "s", Rules: rules})
	a.Register(reg("web", "1"))
	w := nomadWatch(t, a, discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: a.url, Token: "s"})})
	w.has("default/web/1")
	w.until("life", live)
	a.PutToken(nomadsim.Token{Secret: "s"})
	s := w.until("the loss", func(s discovery.Status) bool { return s.Phase == discovery.Stale })
	if s.Problem == "" {
		t.Error("the loss of rights is silent")
	}
	a.PutToken(nomadsim.Token{Secret: "s", Rules: rules})
	w.until("life", live)
	w.neverWithoutAny()
}

// TestQuietCluster: in steady state there is one stream, one blocked query and
// nothing else.
func TestQuietCluster(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	for i := range 200 {
		a.Register(reg(fmt.Sprint("s", i), fmt.Sprint(i)))
	}
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	w.until("life", live)
	w.until("quiet", func(discovery.Status) bool { c := a.Counts(); return c.Streams == 1 && c.Blocked == 1 })
	before := a.Counts()
	for i := range 20 { // no more changes than the agent remembers
		var some []nomad.Registration
		for j := range 10 {
			some = append(some, reg(fmt.Sprint("s", 10*i+j), fmt.Sprint("x", 10*i+j)))
		}
		a.Register(some...)
	}
	w.until("the events", func(s discovery.Status) bool { return s.Instances == 400 })
	if after := a.Counts(); !maps.Equal(before.Requests, after.Requests) {
		t.Errorf("following events cost requests: %v, before %v", after.Requests, before.Requests)
	}
}

// TestResync finds a change without an event.
func TestResync(t *testing.T) {
	t.Parallel()
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	w := nomadWatch(t, a, discovery.WatcherOptions{Resync: 20 * time.Millisecond})
	w.has("default/web/1")
	a.Load(reg("silent", "2")) // without an event
	w.has("default/web/1", "default/silent/2")
}

// TestResyncReadsNothingTwice: as long as the list is not newer than the last event,
// services are not read again.
func TestResyncReadsNothingTwice(t *testing.T) {
	t.Parallel()
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	w := nomadWatch(t, a, discovery.WatcherOptions{Resync: 50 * time.Millisecond})
	w.has("default/web/1")
	w.until("life", live)
	a.Register(reg("web", "2"))
	w.has("default/web/1", "default/web/2")
	const some = 20
	before := a.Counts().Requests
	w.until("resyncs", func(discovery.Status) bool {
		return a.Counts().Requests[nomad.KindServices] >= before[nomad.KindServices]+some
	})
	if read := a.Counts().Requests[nomad.KindService] - before[nomad.KindService]; read > 0 {
		t.Errorf("%d resyncs read the service %d times", some, read)
	}
	// A change without an event is still found, at once.
	a.Load(reg("silent", "3"))
	w.has("default/web/1", "default/web/2", "default/silent/3")
}

// TestRandomChangesAndFaults: in the end the snapshot is what the agent has.
func TestRandomChangesAndFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 7))
			a := newAgent(t, nomadsim.Options{CommitDelay: time.Duration(seed%3) * time.Millisecond, Buffer: 20})
			w := nomadWatch(t, a, discovery.WatcherOptions{Resync: 500 * time.Millisecond})
			for step := range 400 {
				id := fmt.Sprint(r.IntN(40))
				switch r.IntN(12) {
				case 0, 1, 2, 3, 4:
					x := reg(fmt.Sprint("s", len(id), id[0]), id)
					if r.IntN(5) == 0 {
						x.Tags = []string{"other"}
					}
					x.Port = 1 + r.IntN(1000)
					a.Register(x)
				case 5, 6:
					a.Deregister("default", id)
				case 7:
					a.StopNode("node-" + id)
				case 8:
					a.EndStreams()
				case 9:
					a.Disconnect()
				case 10:
					remove := a.Inject([]string{nomad.KindServices, nomad.KindService, nomad.KindStream}[r.IntN(3)], nomadsim.Times(2, nomadsim.NoLeader()))
					defer remove()
				case 11:
					a.Noise(r.IntN(30))
				}
				if step%50 == 0 {
					time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // so that it happens at many moments
				}
			}
			// What a service without our tags has does not matter.
			ours := make(map[string]bool)
			for _, x := range a.Registrations() {
				if strings.HasPrefix(x.Tags[0], "ingress.") {
					ours["default/"+x.ServiceName+"/"+x.ID] = true
				}
			}
			deadline := time.After(long)
			for {
				got := make(map[string]bool)
				w.mu.Lock()
				if w.newest != nil {
					for key, s := range w.newest.Services {
						for _, i := range s.Instances {
							if strings.HasPrefix(i.Tags[0], "ingress.") {
								got["default/"+key.Name+"/"+i.ID] = true
							}
						}
					}
				}
				w.mu.Unlock()
				if maps.Equal(got, ours) {
					return
				}
				select {
				case <-w.changed:
				case <-time.After(50 * time.Millisecond):
				case <-deadline:
					t.Fatalf("the snapshot has %v, the agent %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(ours)))
				}
			}
		})
	}
}

// TestFile: a bad file changes nothing and is named with line and column.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services.json")
	write := func(text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	f, err := discovery.NewFile(discovery.FileOptions{Path: path, Every: time.Millisecond, MaxSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	w := follow(t, f)
	w.until("a missing file", func(s discovery.Status) bool { return strings.Contains(s.Problem, "no such file") && !s.Ready() })
	const one = `[{"ID": "1", "ServiceName": "web", "Address": "10.0.0.1", "Port": 80, "Tags": ["ingress.host=web"]}]`
	write(one)
	w.has("default/web/1")
	for name, c := range map[string]struct{ text, want string }{
		"empty":      {"", "want a JSON array"},
		"object":     {`{"ServiceName": "web"}`, "want a JSON array"},
		"truncated":  {one[:50], "unexpected EOF"},
		"wrong type": {"[\n  {\"ServiceName\": \"web\", \"Port\": \"80\"}]", "line 2, column"},
		"garbage":    {"[\n  nonsense]", "line 2, column"},
		"no name":    {`[{"Address": "10.0.0.1"}]`, "entry 1 has no ServiceName"},
		"null":       {"[null]", "entry 1 has no ServiceName"},
		"twice":      {strings.Replace(one, "}]", "},"+one[1:], 1), "entries 1 and 2 have the same ID"},
		"trailing":   {one + one, "more follows behind the array"},
		"too large":  {one + strings.Repeat(" ", 5000), "more than 4096 bytes"},
	} {
		write(c.text)
		s := w.until(name, func(s discovery.Status) bool { return strings.Contains(s.Problem, c.want) })
		if s.Phase != discovery.Stale || s.Services != 1 {
			t.Errorf("%s: status %+v", name, s)
		}
	}
	// The same again as before the mistake.
	write(one)
	w.until("put right", func(s discovery.Status) bool { return s.Phase == discovery.Live && s.Problem == "" })
	// Changes in place that leave the size, and perhaps the time, as it was.
	for _, id := range []string{"2", "3", "1"} {
		if err := os.WriteFile(path, []byte(strings.Replace(one, `"ID": "1"`, `"ID": "`+id+`"`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		w.has("default/web/" + id)
	}
	w.has("default/web/1")
	// Nor does one go unseen that brings its old time along, as rsync does.
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	for _, id := range []string{"2", "3", "1"} {
		if err := os.WriteFile(path, []byte(strings.Replace(one, `"ID": "1"`, `"ID": "`+id+`"`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, past, past); err != nil {
			t.Fatal(err)
		}
		w.has("default/web/" + id)
	}
	first := w.has("default/web/1")
	// A file that has not changed for long is not read again; its replacement is.
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	write(strings.Replace(one, "]}]", `]}, {"ServiceName": "api", "Address": "10.0.0.2", "Port": 81, "Tags": ["ingress.host=api"]}, {"ServiceName": "plain", "Address": "10.0.0.2", "Port": 82}]`, 1))
	next := w.has("default/web/1", "default/api/static-api-10.0.0.2-81")
	web := discovery.Key{Namespace: "default", Name: "web"}
	if next.Services[web] != first.Services[web] {
		t.Error("a service that did not change has a new pointer")
	}
}

// TestFileForgets: an unchanged service keeps nothing in memory of what was read with
// it.
func TestFileForgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services.json")
	write := func(names ...string) {
		var regs []nomad.Registration
		for _, name := range names {
			regs = append(regs, reg(name, name))
		}
		text, err := json.Marshal(regs)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("stays", "goes")
	f, err := discovery.NewFile(discovery.FileOptions{Path: path, Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan *discovery.Snapshot)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { f.Run(ctx, out) })
	key := func(name string) discovery.Key { return discovery.Key{Namespace: "default", Name: name} }
	s := <-out
	stays, goes := s.Services[key("stays")], weak.Make(s.Services[key("goes")].Instances[0])
	write("stays")
	if s = <-out; s.Services[key("stays")] != stays {
		t.Error("a service that did not change has a new pointer")
	}
	s = nil
	for end := time.Now().Add(long); goes.Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("an instance that has gone is still in memory")
		}
	}
	runtime.KeepAlive(stays)
}

// fixed is a Source that sends what a test sends.
type fixed chan *discovery.Snapshot

func (fixed) Status() []discovery.Status { return nil }

func (f fixed) Run(ctx context.Context, out chan<- *discovery.Snapshot) error {
	for {
		select {
		case s := <-f:
			select {
			case out <- s:
			case <-ctx.Done():
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// instanceOf is what a source makes of a registration.
func instanceOf(r *nomad.Registration) *discovery.Instance {
	return &discovery.Instance{ID: r.ID, Namespace: r.Namespace, Service: r.ServiceName, Job: r.JobID, Alloc: r.AllocID, Node: r.NodeID,
		Datacenter: r.Datacenter, Address: r.Address, Port: r.Port, Tags: r.Tags, Created: r.CreateIndex, Modified: r.ModifyIndex}
}

func snapshotOf(regs ...nomad.Registration) *discovery.Snapshot {
	s := &discovery.Snapshot{Services: make(map[discovery.Key]*discovery.Service)}
	for i := range regs {
		key := discovery.Key{Namespace: regs[i].Namespace, Name: regs[i].ServiceName}
		if s.Services[key] == nil {
			s.Services[key] = &discovery.Service{Key: key}
		}
		s.Services[key].Instances = append(s.Services[key].Instances, instanceOf(&regs[i]))
	}
	return s
}

func TestMerge(t *testing.T) {
	one, two := make(fixed), make(fixed)
	w := follow(t, discovery.Merge(one, two))
	a := snapshotOf(reg("web", "1"), reg("only", "2"))
	one <- a
	if s := w.has("default/web/1", "default/only/2"); !s.Partial {
		t.Error("a merge without the second source is not partial")
	}
	two <- snapshotOf(reg("web", "3"), reg("web", "1"))
	s := w.has("default/web/1", "default/web/3", "default/only/2")
	if s.Partial {
		t.Error("a merge of both is partial")
	}
	only, web := discovery.Key{Namespace: "default", Name: "only"}, discovery.Key{Namespace: "default", Name: "web"}
	if s.Services[only] != a.Services[only] {
		t.Error("a service of one source alone lost its pointer")
	}
	changed := snapshotOf(reg("only", "4"))
	changed.Services[web] = a.Services[web]
	one <- changed
	if next := w.has("default/web/1", "default/web/3", "default/only/4"); next.Services[web] != s.Services[web] {
		t.Error("a service of two sources, both unchanged, lost its pointer")
	}
}

func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	c, err := discovery.NewCache(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := discovery.ParseNamespaces(nil)
	if s, err := c.Load(all, "ingress"); s != nil || err != nil {
		t.Errorf("an empty cache has %v, %v", s, err)
	}
	s := snapshotOf(reg("web", "1"), regIn("team-a", "web", "2"))
	s.Index, s.Read = 42, time.Unix(1000, 0).UTC()
	keep := func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c.Run(ctx)
	}
	c.Save(s)
	keep()
	back, err := c.Load(all, "ingress")
	if err != nil || !slices.Equal(ids(back), ids(s)) || back.Index != 42 || !back.Read.Equal(s.Read) || back.Origin != discovery.OriginCache {
		t.Fatalf("the cache gives back %v, %+v, %v", ids(back), back, err)
	}
	some, _ := discovery.ParseNamespaces([]string{"team-*"})
	if back, _ := c.Load(some, "ingress"); !slices.Equal(ids(back), []string{"team-a/web/2"}) {
		t.Errorf("of some namespaces the cache gives back %v", ids(back))
	}
	partial := *snapshotOf()
	partial.Partial = true
	c.Save(&partial)
	keep()
	if back, _ := c.Load(all, "ingress"); len(back.Services) != 2 {
		t.Error("a partial snapshot was kept")
	}
	file := filepath.Join(dir, "services.json")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"truncated": string(good[:len(good)/2]), "other version": strings.Replace(string(good), `"version":1`, `"version":2`, 1), "empty": "", "garbage": "hello",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := c.Load(all, "ingress"); s != nil || err == nil || !strings.Contains(err.Error(), "not used") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		t.Errorf("files are left over: %v", left)
	}
}

// TestCachedUntilNomadAnswers serves the cached services, then the current ones.
func TestCachedUntilNomadAnswers(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	back := a.away(t)
	cached := snapshotOf(reg("web", "1"), reg("gone", "2"))
	cached.Origin, cached.Read = discovery.OriginCache, time.Unix(1000, 0)
	w := nomadWatch(t, a, discovery.WatcherOptions{Initial: cached})
	if s := w.has("default/web/1", "default/gone/2"); s.Origin != discovery.OriginCache {
		t.Errorf("what is cached is sent as %v", s.Origin)
	}
	s := w.until("a try", func(s discovery.Status) bool { return s.Breaks > 0 })
	if s.Phase != discovery.Cached || !s.Since.Equal(cached.Read) || !s.Ready() {
		t.Errorf("status %+v", s)
	}
	back()
	if s := w.has("default/web/1"); s.Origin != discovery.OriginLive {
		t.Errorf("what Nomad said is sent as %v", s.Origin)
	}
}

func TestParseNamespaces(t *testing.T) {
	for _, bad := range []string{"", "!", "[a", "a/b", "a b"} {
		if _, err := discovery.ParseNamespaces([]string{bad}); err == nil {
			t.Errorf("%q is taken for a namespace pattern", bad)
		}
	}
	n, err := discovery.ParseNamespaces([]string{"!secret"})
	if err != nil || !n.Match("default") || n.Match("secret") || !slices.Equal(n.Scopes(), []string{"*"}) {
		t.Errorf("only exclusions: %v, %v", n, err)
	}
	if n, _ := discovery.ParseNamespaces([]string{"a", "b", "!b"}); !slices.Equal(n.Scopes(), []string{"a"}) {
		t.Errorf("scopes %v", n.Scopes())
	}
}

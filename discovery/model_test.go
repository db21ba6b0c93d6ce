package discovery_test

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// model is a watcher, an agent, and invariants.
type model struct {
	*agent
	watch      *watch
	saved      *nomadsim.State
	namespaces *discovery.Namespaces
	// workload tells whether the token is a workload's.
	workload bool
	heal     []func() // ends of injected faults
	// stable are lives that the watcher knew and that have gone on ever since.
	stable map[life]bool
	// ended are lives that have ended. The watcher may learn of that at any time later,
	// even when a restore has brought the instance back unchanged: until it has learned
	// of both, it rightly treats the instance as gone.
	ended map[life]bool
}

func newModel(a *agent, names *discovery.Namespaces, workload bool) *model {
	return &model{agent: a, namespaces: names, workload: workload, stable: make(map[life]bool), ended: make(map[life]bool)}
}

// life is an instance from its registration to its end. One that is registered
// again after its end has another life.
type life struct {
	id      string // in the form of ids
	created uint64
}

// exist is what the agent has.
func (m *model) exist() map[life]string {
	all := make(map[life]string)
	for _, r := range m.Registrations() {
		if m.namespaces.Match(r.Namespace) {
			all[lifeOf(r)] = likeness(instanceOf(&r))
		}
	}
	return all
}

func lifeOf(r nomad.Registration) life {
	return life{r.Namespace + "/" + r.ServiceName + "/" + r.ID, r.CreateIndex}
}

func likeness(i *discovery.Instance) string {
	return fmt.Sprintf("%s:%d %v", i.Address, i.Port, i.Tags)
}

// known is what the watcher knows.
func (m *model) known() map[life]string {
	all := make(map[life]string)
	m.watch.mu.Lock()
	defer m.watch.mu.Unlock()
	if m.watch.newest == nil {
		return all
	}
	for key, service := range m.watch.newest.Services {
		for _, i := range service.Instances {
			all[life{key.Namespace + "/" + key.Name + "/" + i.ID, i.Created}] = likeness(i)
		}
	}
	return all
}

// check checks the invariants that hold at any time.
func (m *model) check() error {
	exist, known := m.exist(), m.known()
	for l := range m.stable {
		if _, ok := known[l]; !ok {
			return fmt.Errorf("%v exists and was known, and is not known any more: %+v", l, m.watch.status())
		}
	}
	for l := range known {
		if _, is := exist[l]; is && !m.ended[l] {
			m.stable[l] = true
		}
	}
	return nil
}

// act does something that may end lives, and notes which have ended.
func (m *model) act(do func()) {
	before := m.exist()
	do()
	after := m.exist()
	for l := range before {
		if _, is := after[l]; !is {
			m.ended[l] = true
			delete(m.stable, l)
		}
	}
}

// rights are permissions that the policy may leave.
var rights = map[string][]nomadsim.Rule{
	"all":     readJobs,
	"none":    nil,
	"one":     {{Namespace: "a", Capabilities: []string{"read-job"}}},
	"but one": append(slices.Clone(readJobs), nomadsim.Rule{Namespace: "b", Capabilities: []string{"list-jobs"}}),
	"by name": {{Namespace: "default", Capabilities: []string{"read-job"}}, {Namespace: "a", Capabilities: []string{"read-job"}}, {Namespace: "b", Capabilities: []string{"read-job"}}},
}

// actions are the possible events.
func (m *model) actions() map[string]func(*rapid.T) {
	pause := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 10 * time.Millisecond, 60 * time.Millisecond})
	inject := func(kind string, f nomadsim.Fault) { m.heal = append(m.heal, m.Inject(kind, f)) }
	return map[string]func(*rapid.T){
		"": func(t *rapid.T) {
			if err := m.check(); err != nil {
				t.Fatal(err)
			}
		},
		"register": func(t *rapid.T) {
			var regs []nomad.Registration
			for range rapid.IntRange(1, 3).Draw(t, "instances") {
				r := regIn(rapid.SampledFrom([]string{"default", "a", "b"}).Draw(t, "namespace"),
					rapid.SampledFrom([]string{"web", "api"}).Draw(t, "service"), fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "id")))
				r.ID += "-" + r.ServiceName // an ID belongs to one service
				r.Port = rapid.IntRange(1, 3).Draw(t, "port")
				regs = append(regs, r)
			}
			m.Register(regs...)
		},
		"deregister": func(t *rapid.T) {
			all := m.Registrations()
			if len(all) == 0 {
				t.Skip("nothing is there")
			}
			slices.SortFunc(all, func(a, b nomad.Registration) int { return strings.Compare(a.Namespace+a.ID, b.Namespace+b.ID) })
			r := rapid.SampledFrom(all).Draw(t, "instance")
			m.act(func() { m.Deregister(r.Namespace, r.ID) })
		},
		"node dies": func(t *rapid.T) {
			node := fmt.Sprint("node-", rapid.IntRange(0, 5).Draw(t, "node"))
			m.act(func() { m.StopNode(node) })
		},
		"other changes":  func(t *rapid.T) { m.Noise(rapid.IntRange(1, 30).Draw(t, "changes")) },
		"streams end":    func(*rapid.T) { m.EndStreams() },
		"connections":    func(*rapid.T) { m.Disconnect() },
		"save":           func(*rapid.T) { m.saved = m.Save() },
		"time":           func(t *rapid.T) { time.Sleep(pause.Draw(t, "pause")) },
		"new namespace":  func(t *rapid.T) { m.CreateNamespace(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")) },
		"restore":        func(t *rapid.T) { m.restore(rapid.Bool().Draw(t, "anew")) },
		"followers lag":  func(*rapid.T) { inject("", nomadsim.Lagging()) },
		"no leader":      func(*rapid.T) { inject("", nomadsim.Times(3, nomadsim.NoLeader())) },
		"stream refused": func(*rapid.T) { inject(nomad.KindStream, nomadsim.Times(3, nomadsim.Forbidden())) },
		"healed":         func(*rapid.T) { m.healAll() },
		"rights": func(t *rapid.T) {
			m.PutToken(identity(m.workload, rights[rapid.SampledFrom(slices.Sorted(maps.Keys(rights))).Draw(t, "rights")]...))
		},
	}
}

// safeBuffer is what a logger wrote.
type safeBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}

// restore undoes everything since then.
func (m *model) restore(anew bool) {
	if m.saved != nil {
		m.act(func() { m.Restore(m.saved, anew) })
	}
}

func (m *model) healAll() {
	for _, heal := range m.heal {
		heal()
	}
	m.heal = nil
}

// TestAnyProgram: whatever changes, breaks, lags, is restored or forbidden, nothing
// that exists is forgotten, and once everything is quiet and permitted the watcher
// knows what the agent has.
func TestAnyProgram(t *testing.T) {
	t.Parallel()
	refusals := []nomadsim.Refusal{nomadsim.RefusalEOF, nomadsim.RefusalSilence, nomadsim.RefusalForbidden}
	rapid.Check(t, func(rt *rapid.T) {
		a := newAgent(t, nomadsim.Options{
			ACL: true, Buffer: 20, Refusal: rapid.SampledFrom(refusals).Draw(rt, "refusal"),
			CommitDelay: rapid.SampledFrom([]time.Duration{0, 3 * time.Millisecond}).Draw(rt, "commit delay"),
		})
		names, err := discovery.ParseNamespaces(rapid.SampledFrom([][]string{nil, {"!b"}, {"default", "a"}}).Draw(rt, "namespaces"))
		if err != nil {
			rt.Fatal(err)
		}
		m := newModel(a, names, rapid.Bool().Draw(rt, "workload"))
		for _, ns := range []string{"a", "b"} {
			a.CreateNamespace(ns)
		}
		a.PutToken(identity(m.workload, rights[rapid.SampledFrom([]string{"all", "none"}).Draw(rt, "rights at the start")]...))
		client := newClient(t, nomad.Options{Address: a.url, Token: "s", Limits: nomad.Limits{FirstLine: 100 * time.Millisecond}})
		var said safeBuffer
		logger := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
		m.watch = nomadWatch(t, a, discovery.WatcherOptions{Client: client, Retry: 30 * time.Millisecond, Logger: logger,
			Namespaces: names, Resync: rapid.SampledFrom([]time.Duration{20 * time.Millisecond, time.Hour}).Draw(rt, "resync")})
		defer a.stop()
		defer m.watch.stop()
		rt.Repeat(m.actions())
		m.healAll()
		a.PutToken(identity(m.workload, readJobs...))
		for end := time.Now().Add(long); ; time.Sleep(5 * time.Millisecond) {
			if err := m.check(); err != nil {
				rt.Fatal(err)
			}
			exist, known := m.exist(), m.known()
			if maps.Equal(exist, known) && !slices.ContainsFunc(m.watch.status(), func(s discovery.Status) bool { return !live(s) }) {
				return
			}
			if time.Now().After(end) {
				rt.Fatalf("in the end the agent has\n%v\nand the watcher knows\n%v\n%+v\n%s", exist, known, m.watch.status(), said.String())
			}
		}
	})
}

// TestModelOfRestore: an instance that ends, and is restored unchanged, may be
// considered gone once more; one that has not ended may not.
func TestModelOfRestore(t *testing.T) {
	for name, anew := range map[string]bool{"the cluster lives": false, "built anew": true} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, nomadsim.Options{})
			a.Register(reg("web", "1"), reg("web", "2"))
			all, err := discovery.ParseNamespaces(nil)
			if err != nil {
				t.Fatal(err)
			}
			m := newModel(a, all, false)
			m.watch = nomadWatch(t, a, discovery.WatcherOptions{})
			m.watch.has("default/web/1", "default/web/2")
			m.watch.stop() // so that it learns of the rest as late as possible
			m.saved = a.Save()
			m.check()
			m.act(func() { m.Deregister("default", "1") })
			m.restore(anew)
			m.check()

			lack := func(id string) error {
				was := m.watch.newest
				defer func() { m.watch.newest = was }()
				key := discovery.Key{Namespace: "default", Name: "web"}
				left := slices.DeleteFunc(slices.Clone(was.Services[key].Instances), func(i *discovery.Instance) bool { return i.ID == id })
				m.watch.newest = &discovery.Snapshot{Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: left}}}
				return m.check()
			}
			if err := lack("1"); err != nil {
				t.Errorf("of an instance that ended and came back: %v", err)
			}
			if lack("2") == nil {
				t.Error("an instance that nothing ended may be forgotten")
			}
		})
	}
}

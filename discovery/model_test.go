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

// model is a watcher, an agent, and what must be true of them.
type model struct {
	*agent
	watch      *watch
	saved      *nomadsim.State
	namespaces *discovery.Namespaces
	// workload tells whether the token is a workload's.
	workload bool
	heal     []func() // faults that are injected
	// stable are instances that the watcher knew and that have existed ever
	// since, by their ID as ids has it.
	stable map[string]bool
}

// exist is what the agent has, with what it is like.
func (m *model) exist() map[string]string {
	all := make(map[string]string)
	for _, r := range m.Registrations() {
		if !m.namespaces.Match(r.Namespace) {
			continue
		}
		all[r.Namespace+"/"+r.ServiceName+"/"+r.ID] = fmt.Sprintf("%s:%d at %d %v", r.Address, r.Port, r.CreateIndex, r.Tags)
	}
	return all
}

// known is what the watcher knows.
func (m *model) known() map[string]string {
	all := make(map[string]string)
	m.watch.mu.Lock()
	defer m.watch.mu.Unlock()
	if m.watch.newest == nil {
		return all
	}
	for key, service := range m.watch.newest.Services {
		for _, i := range service.Instances {
			all[key.Namespace+"/"+key.Name+"/"+i.ID] = fmt.Sprintf("%s:%d at %d %v", i.Address, i.Port, i.CreateIndex, i.Tags)
		}
	}
	return all
}

// check is what must hold at any time.
func (m *model) check(t *rapid.T) {
	exist, known := m.exist(), m.known()
	for id := range m.stable {
		if _, is := exist[id]; !is {
			delete(m.stable, id)
		} else if _, ok := known[id]; !ok {
			t.Fatalf("%s exists and was known, and is not known any more: %+v", id, m.watch.status())
		}
	}
	for id := range known {
		if _, is := exist[id]; is {
			m.stable[id] = true
		}
	}
}

// rights are those that the policy may leave.
var rights = map[string][]nomadsim.Rule{
	"all":     readJobs,
	"none":    nil,
	"one":     {{Namespace: "a", Capabilities: []string{"read-job"}}},
	"but one": append(slices.Clone(readJobs), nomadsim.Rule{Namespace: "b", Capabilities: []string{"list-jobs"}}),
	"by name": {{Namespace: "default", Capabilities: []string{"read-job"}}, {Namespace: "a", Capabilities: []string{"read-job"}}, {Namespace: "b", Capabilities: []string{"read-job"}}},
}

// actions are what may happen.
func (m *model) actions() map[string]func(*rapid.T) {
	pause := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 10 * time.Millisecond, 60 * time.Millisecond})
	inject := func(kind string, f nomadsim.Fault) { m.heal = append(m.heal, m.Inject(kind, f)) }
	return map[string]func(*rapid.T){
		"": m.check,
		"register": func(t *rapid.T) {
			var regs []nomad.Registration
			for range rapid.IntRange(1, 3).Draw(t, "instances") {
				r := regIn(rapid.SampledFrom([]string{"default", "a", "b"}).Draw(t, "namespace"),
					rapid.SampledFrom([]string{"web", "api"}).Draw(t, "service"), fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "id")))
				r.ID += "-" + r.ServiceName // an ID is of one service
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
			delete(m.stable, r.Namespace+"/"+r.ServiceName+"/"+r.ID)
			m.Deregister(r.Namespace, r.ID)
		},
		"node dies": func(t *rapid.T) {
			m.stable = make(map[string]bool)
			m.StopNode(fmt.Sprint("node-", rapid.IntRange(0, 5).Draw(t, "node")))
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

// restore takes away what was not there then.
func (m *model) restore(anew bool) {
	if m.saved == nil {
		return
	}
	m.stable = make(map[string]bool)
	m.Restore(m.saved, anew)
}

func (m *model) healAll() {
	for _, heal := range m.heal {
		heal()
	}
	m.heal = nil
}

// TestAnyProgram: whatever changes, breaks, lags, is restored or forbidden,
// nothing that exists is forgotten, and once it is quiet and all rights are
// there the watcher knows what the agent has.
func TestAnyProgram(t *testing.T) {
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
		m := &model{agent: a, namespaces: names, workload: rapid.Bool().Draw(rt, "workload"), stable: make(map[string]bool)}
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
			m.check(rt)
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

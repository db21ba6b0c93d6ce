package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"serai/discovery"
)

// place is what a Source watches, as the contract suite changes it. A new source is
// tested by one more line in TestSourceContract.
type place interface {
	// source makes a Source that watches the place.
	source(t *testing.T) discovery.Source
	// set sets everything that is registered. Unchanged instances are not registered
	// again. The place sets Created and Modified.
	set(t *testing.T, all ...discovery.Instance)
	// away makes the place unreadable, until back.
	away(t *testing.T) (back func())
	// ordered says that registrations have positions in an order.
	ordered() bool
	// told is an instance as the source tells it.
	told(i discovery.Instance) discovery.Instance
}

// TestSourceContract checks the contract of Source for every source.
func TestSourceContract(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) place{
		"nomad": newNomadPlace, "nomad, kept on disk": newKeptPlace, "file": newFilePlace, "consul": newConsulPlace, "consul, a real agent": newRealConsulPlace,
	} {
		t.Run(name, func(t *testing.T) {
			for rule, hold := range map[string]func(*testing.T, place){
				"a place without instances is known": emptyIsKnown, "all is told": allIsTold, "every change is told": everyChange,
				"silence removes nothing": silence, "a place that is away is waited for": awayAtFirst, "the newest is never skipped": slowReceiver,
				"a send ends with the context": blockedSend, "registrations have an order": order,
			} {
				t.Run(rule, func(t *testing.T) { t.Parallel(); hold(t, open(t)) })
			}
		})
	}
}

// instance is an instance in the default namespace, with everything that a source may
// report.
func instance(service, id string, tags ...string) discovery.Instance {
	return discovery.Instance{
		ID: id, Namespace: "default", Service: service, Job: "job-" + service, Alloc: "alloc-" + id, Node: "node-" + id, Datacenter: "dc1",
		Address: "10.0.0.1", Port: 80, Tags: tags,
	}
}

const ours = "ingress.host=a.example.org"

// bare is an instance without its position in an order.
func bare(i discovery.Instance) discovery.Instance {
	i.Created, i.Modified, i.Tags = 0, 0, append([]string{}, i.Tags...)
	return i
}

// plain are the instances of a snapshot by service, without their order.
func plain(s *discovery.Snapshot) map[discovery.Key][]discovery.Instance {
	all := make(map[discovery.Key][]discovery.Instance)
	for key, service := range s.Services {
		for _, i := range service.Instances {
			all[key] = append(all[key], bare(*i))
		}
	}
	return all
}

// followPlace runs a source of a place.
func followPlace(t *testing.T, p place) *watch {
	w := follow(t, p.source(t))
	w.told = p.told
	return w
}

// key is the key of an instance's service in the place's snapshots.
func key(p place, i discovery.Instance) discovery.Key {
	i = p.told(i)
	return i.Key()
}

// shows waits until the newest snapshot has exactly these, sorted by ID.
func (w *watch) shows(want ...discovery.Instance) *discovery.Snapshot {
	w.t.Helper()
	byKey := make(map[discovery.Key][]discovery.Instance)
	for _, i := range want {
		if w.told != nil {
			i = w.told(i)
		}
		byKey[i.Key()] = append(byKey[i.Key()], bare(i))
	}
	deadline := time.After(long)
	for {
		w.mu.Lock()
		s := w.newest
		w.mu.Unlock()
		if s != nil && reflect.DeepEqual(plain(s), byKey) {
			return s
		}
		select {
		case <-w.changed:
		case <-deadline:
			w.t.Fatalf("the newest snapshot is %+v, want %v; status %+v", s, byKey, w.status())
		}
	}
}

func emptyIsKnown(t *testing.T, p place) {
	p.set(t)
	w := followPlace(t, p)
	if s := w.shows(); s.Partial || s.Origin != discovery.OriginLive || s.Read.IsZero() {
		t.Errorf("the snapshot of nothing is %+v", s)
	}
	w.until("life", live)
}

func allIsTold(t *testing.T, p place) {
	one, two, near := instance("web", "1", ours, "other"), instance("web", "2"), instance("nearly", "3", "Ingress.host=b.example.org")
	odd := instance("odd", "4", ours)
	odd.Address, odd.Port = "", 0
	p.set(t, two, instance("plain", "5", "ingress-b.host=c.example.org"), near, one, odd)
	w := followPlace(t, p)
	w.shows(one, two, near, odd)
	if s := w.until("life", live); s.Source == "" || s.Services != 3 || s.Instances != 4 {
		t.Errorf("status %+v", s)
	}
}

func everyChange(t *testing.T, p place) {
	stays := instance("stays", "0", ours)
	p.set(t, stays)
	w := followPlace(t, p)
	first := w.shows(stays).Services[key(p, stays)]
	one, two := instance("web", "1", ours), instance("web", "2", ours)
	changed, moved, withdrawn := one, one, one
	changed.Tags = []string{ours, "ingress.path=/x"}
	moved.Port = 81
	withdrawn.Tags = nil
	type sent struct {
		snapshot *discovery.Snapshot
		then     map[discovery.Key][]discovery.Instance
	}
	var all []sent
	for _, now := range [][]discovery.Instance{{one}, {one, two}, {changed, two}, {moved, two}, {withdrawn, two}, {two}, {}, {two}} {
		now = append(now, stays)
		p.set(t, now...)
		s := w.shows(now...)
		if s.Services[key(p, stays)] != first {
			t.Errorf("with %v a service that did not change has a new pointer", now)
		}
		all = append(all, sent{s, plain(s)})
	}
	for _, s := range all {
		if !reflect.DeepEqual(plain(s.snapshot), s.then) {
			t.Errorf("a snapshot was modified after it was sent: %v, was %v", plain(s.snapshot), s.then)
		}
	}
}

func silence(t *testing.T, p place) {
	one, two := instance("web", "1", ours), instance("web", "2", ours)
	p.set(t, one)
	w := followPlace(t, p)
	w.shows(one)
	w.until("life", live)
	back := p.away(t)
	if s := w.until("silence", func(s discovery.Status) bool { return s.Phase == discovery.Stale }); s.Problem == "" || s.Instances != 1 {
		t.Errorf("status while the place is away: %+v", s)
	}
	back()
	p.set(t, one, two)
	w.shows(one, two)
	w.until("life", live)
	one = p.told(one)
	w.neverWithout(one.Namespace + "/web/" + one.ID)
}

func awayAtFirst(t *testing.T, p place) {
	one := instance("web", "1", ours)
	p.set(t, one)
	back := p.away(t)
	w := followPlace(t, p)
	if s := w.until("a try", func(s discovery.Status) bool { return s.Problem != "" }); s.Ready() {
		t.Errorf("status of a place that nobody has read: %+v", s)
	}
	w.mu.Lock()
	if len(w.all) > 0 {
		t.Errorf("of a place that nobody has read it is known: %+v", w.all)
	}
	w.mu.Unlock()
	back()
	w.shows(one)
}

func slowReceiver(t *testing.T, p place) {
	p.set(t, instance("web", "1", ours))
	ctx, cancel := context.WithCancel(t.Context())
	source, out, ended := p.source(t), make(chan *discovery.Snapshot), make(chan error)
	go func() { ended <- source.Run(ctx, out) }()
	<-out
	var last discovery.Instance
	for i := range 20 {
		last = instance("web", "1", fmt.Sprintf("ingress.host=%d.example.org", i))
		p.set(t, last)
	}
	for deadline := time.After(long); ; {
		select {
		case s := <-out:
			if !reflect.DeepEqual(plain(s), map[discovery.Key][]discovery.Instance{key(p, last): {p.told(last)}}) {
				continue
			}
		case <-deadline:
			t.Error("the last change has not come")
		}
		break
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}

func blockedSend(t *testing.T, p place) {
	p.set(t, instance("web", "1", ours))
	ctx, cancel := context.WithCancel(t.Context())
	source, ended := p.source(t), make(chan error)
	go func() { ended <- source.Run(ctx, make(chan *discovery.Snapshot)) }()
	for end := time.Now().Add(long); source.Status()[0].Instances == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	case <-time.After(long):
		t.Fatal("Run waits for a receiver although its context has ended")
	}
}

func order(t *testing.T, p place) {
	old, young := instance("web", "1", ours), instance("web", "2", ours)
	p.set(t, old)
	w := followPlace(t, p)
	w.shows(old)
	p.set(t, old, young)
	before := w.shows(old, young).Services[key(p, old)].Instances
	old.Tags = []string{"ingress.host=b.example.org"}
	p.set(t, old, young)
	after := w.shows(old, young).Services[key(p, old)].Instances
	if !p.ordered() {
		for _, i := range slices.Concat(before, after) {
			if i.Created != 0 || i.Modified != 0 || !i.ByHand() {
				t.Errorf("a place without order says %+v", i)
			}
		}
		return
	}
	if before[0].Created == 0 || before[0].Created >= before[1].Created || before[0].ByHand() {
		t.Errorf("%+v was registered before %+v", before[0], before[1])
	}
	if after[0].Created != before[0].Created || after[0].Modified <= before[1].Modified {
		t.Errorf("%+v was changed last, and was %+v", after[0], before[0])
	}
}

package discovery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// TestListOfAGreedyTenant: one service with more tags than are read of one answer, and very
// many services of one namespace, keep nobody else's from being known, at a start and later.
func TestListOfAGreedyTenant(t *testing.T) {
	a := newAgent(t, nomadsim.Options{Heartbeat: 10 * time.Millisecond})
	a.CreateNamespace("evil")
	a.CreateNamespace("honest")
	honest := reg("web", "1")
	honest.Namespace = "honest"
	a.Register(honest)
	for i := range 40 {
		large := reg("large", fmt.Sprint("l", i))
		large.Tags = append(large.Tags, fmt.Sprint(i, strings.Repeat("x", 10_000)))
		a.Register(large)
	}
	for i := range 500 {
		many := reg(fmt.Sprint("many", i), fmt.Sprint("m", i))
		many.Namespace = "evil"
		a.Register(many)
	}
	w := nomadWatch(t, a, discovery.WatcherOptions{
		Resync: 50 * time.Millisecond,
		Client: newClient(t, nomad.Options{Address: a.url, Limits: nomad.Limits{Answer: 100_000, Line: 4096}}),
		Store:  discovery.NewStore(discovery.Bounds{Registrations: discovery.Bound{Namespace: 100, Total: 1000}}),
	})
	w.until("life", live)
	served := func(what ...string) {
		t.Helper()
		for _, key := range what {
			w.until(key, func(discovery.Status) bool { return w.serves(key) })
		}
	}
	served("honest/web/1")
	later := reg("later", "2")
	later.Namespace = "honest"
	a.EndStreams()
	a.Noise(300) // so that everything is read again
	a.Register(later)
	served("honest/web/1", "honest/later/2")
	scans := w.status()[0].Scans
	w.until("two further readings", func(s discovery.Status) bool { return s.Scans >= scans+2 && live(s) })
	served("honest/web/1", "honest/later/2")
	for i := 1; i < 40; i++ {
		a.Deregister("default", fmt.Sprint("l", i))
	}
	served("default/large/l0") // it has become small enough to be read
}

// serves reports whether the newest snapshot has an instance, written namespace/service/ID.
func (w *watch) serves(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest != nil && slices.Contains(ids(w.newest), id)
}

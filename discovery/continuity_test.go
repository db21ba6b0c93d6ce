package discovery_test

import (
	"fmt"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// crowd registers n services one by one, with events, and returns their names in the
// form of ids.
func crowd(a *agent, n int) (all []string) {
	for i := range n {
		a.Register(reg(fmt.Sprint("s", i), fmt.Sprint(i)))
		all = append(all, fmt.Sprintf("default/s%d/%d", i, i))
	}
	return all
}

// lose ends the streams in some way and waits until changes are received again.
func (w *watch) lose(act func()) {
	w.t.Helper()
	before := w.status()[0].Breaks
	act()
	w.until("the loss, and life", func(s discovery.Status) bool { return s.Breaks > before && live(s) })
}

// TestNothingIsReadAfterABreakThatMissedNothing: the last event that was received comes
// again, or the index of the table is still the event's: nothing was missed.
func TestNothingIsReadAfterABreakThatMissedNothing(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(a *agent) (more []string)
		reads     int // of one service, at most
		lists     int
	}{
		"nothing happened":         {func(*agent) []string { return nil }, 0, 0},
		"what happened is told":    {func(a *agent) []string { a.Register(reg("new", "x")); return []string{"default/new/x"} }, 0, 0},
		"the event is forgotten":   {func(a *agent) []string { a.Noise(300); return nil }, 1, 0},
		"a namespace without news": {func(a *agent) []string { a.CreateNamespace("late"); return nil }, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, nomadsim.Options{})
			w := nomadWatch(t, a, discovery.WatcherOptions{})
			w.until("life", live)
			all := crowd(a, 60)
			w.has(all...)
			before := a.Counts().Requests
			w.lose(func() {
				remove := a.Inject(nomad.KindStream, nomadsim.NoLeader())
				a.EndStreams()
				w.until("the loss", func(s discovery.Status) bool { return s.Breaks > 0 })
				all = append(all, c.meanwhile(a)...)
				remove()
			})
			w.has(all...)
			time.Sleep(50 * time.Millisecond) // unnecessary reads would happen now
			after := a.Counts().Requests
			if read := after[nomad.KindService] - before[nomad.KindService]; read > c.reads {
				t.Errorf("%d services were read, want %d", read, c.reads)
			}
			if lists := after[nomad.KindServices] - before[nomad.KindServices]; lists > c.lists {
				t.Errorf("services were listed %d times", lists)
			}
			a.Register(reg("s0", "y"))
			w.has(append(all, "default/s0/y")...)
		})
	}
}

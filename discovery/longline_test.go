package discovery_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// TestLineTooLong: what a line of the event stream says that is longer than the limit is
// read at once, and the stream goes on with what comes after it.
func TestLineTooLong(t *testing.T) {
	a := newAgent(t, nomadsim.Options{Heartbeat: 10 * time.Millisecond})
	a.Register(reg("web", "1"), reg("old", "2"))
	w := nomadWatch(t, a, discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: a.url, Limits: nomad.Limits{Line: 4096}})})
	w.has("default/web/1", "default/old/2")
	w.until("life", live)
	long := reg("long", "3")
	long.Tags = append(long.Tags, strings.Repeat("x", 20_000))
	began := time.Now()
	a.Register(long, reg("web", "4")) // in one line
	a.Deregister("default", "2")
	w.has("default/web/1", "default/web/4", "default/long/3")
	t.Logf("known after %v", time.Since(began))
	a.Register(reg("after", "5"))
	w.has("default/web/1", "default/web/4", "default/long/3", "default/after/5")
	w.until("the end of the second reading", func(s discovery.Status) bool { return s.Scans >= 2 && live(s) })
	if s := w.status()[0]; s.Breaks > 0 {
		t.Errorf("a long line broke the stream %d times", s.Breaks)
	}
}

// TestAnswerTooLong: a service with more registrations than is read at once is refused
// alone, at a start and later, and is read when it has become smaller.
func TestAnswerTooLong(t *testing.T) {
	a := newAgent(t, nomadsim.Options{Heartbeat: 10 * time.Millisecond})
	a.Register(reg("web", "1"))
	for i := range 20 {
		large := reg("large", fmt.Sprint("l", i))
		large.Tags = append(large.Tags, strings.Repeat("x", 10_000))
		a.Register(large)
	}
	w := nomadWatch(t, a, discovery.WatcherOptions{Resync: 50 * time.Millisecond,
		Client: newClient(t, nomad.Options{Address: a.url, Limits: nomad.Limits{Answer: 100_000, Line: 4096}})})
	w.has("default/web/1")
	w.until("life", live)
	for i := 1; i < 20; i++ {
		a.Deregister("default", fmt.Sprint("l", i))
	}
	w.has("default/web/1", "default/large/l0")
}

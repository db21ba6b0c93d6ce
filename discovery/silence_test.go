package discovery_test

import (
	"testing"

	"serai/discovery"
	"serai/nomad/nomadsim"
)

// TestChangeOnASilentStream: after a restored snapshot a server of Nomad leaves a stream
// open for a while that will never have another event. What is deployed meanwhile is found
// all the same, and long before the next check.
func TestChangeOnASilentStream(t *testing.T) {
	t.Parallel()
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	w.has("default/web/1")
	read := w.until("life", live).Scans
	a.Load(reg("web", "2")) // without an event
	w.has("default/web/1", "default/web/2")

	// Where the stream reports the changes, nothing is read again.
	before := w.until("the end of what was read", func(s discovery.Status) bool { return live(s) && s.Scans > read })
	a.Register(reg("api", "3"))
	w.has("default/web/1", "default/web/2", "default/api/3")
	if after := w.status()[0]; after.Scans != before.Scans || after.Breaks != before.Breaks {
		t.Errorf("after an event: %+v, before it %+v", after, before)
	}
}

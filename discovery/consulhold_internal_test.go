package discovery

import (
	"testing"
	"time"

	"serai/consul"
)

// TestConsulHoldEndsByALaterList: a hold ends once its time is over and a list that was read since
// it began has something of ours: one from before it says nothing, nor does an empty one.
func TestConsulHoldEndsByALaterList(t *testing.T) {
	r := runOf(t, ConsulOptions{})
	f := &followed{name: "web", key: Key{ConsulNamespace, "web"}, known: true}
	r.followed["web"] = f
	r.services[f.key] = &Service{Key: f.key, Instances: []*Instance{{ID: "n1/1", Namespace: ConsulNamespace, Service: "web", Tags: []string{"ingress.host=a"}}}}
	r.list(map[string]bool{"web": true}, consul.Meta{Index: 40})
	r.hold(5, 9)
	over := func(when string, want bool) {
		t.Helper()
		if r.holding() {
			r.held = time.Now().Add(-time.Second)
		}
		if r.endHold(); r.holding() == want {
			t.Errorf("%s: is held %v", when, !want)
		}
	}
	over("after its time, with the list from before", false)
	r.list(nil, consul.Meta{Index: 41})
	over("after a list of nothing", false)
	r.list(map[string]bool{"web": true}, consul.Meta{Index: 42})
	if over("after a list of something", true); !f.held || !f.surely || !f.queued {
		t.Errorf("what was known is not asked for: %+v", f)
	}
	// And so is the next one.
	r.hold(6, 42)
	over("the next, with the list from before it", false)
	// A list whose index goes back begins a hold, and is read since.
	r.held = time.Time{}
	r.list(map[string]bool{"web": true}, consul.Meta{Index: 3})
	if !r.holding() {
		t.Error("an index that went back holds nothing")
	}
	over("the list that began it", true)
}

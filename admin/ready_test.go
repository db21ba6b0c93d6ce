package admin_test

import (
	"strings"
	"testing"
	"time"

	"serai/admin"
	"serai/discovery"
	"serai/router"
)

// TestReady goes through the phases of a source.
func TestReady(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	live := discovery.Status{Source: "nomad *", Phase: discovery.Live, Since: since, Services: 2, Instances: 5}
	for _, c := range []struct {
		name  string
		list  []discovery.Status
		ready bool
		cache bool
		says  []string
	}{
		{"starting", []discovery.Status{{Source: "nomad *", Phase: discovery.Starting, Since: since}}, false, false, []string{`"nomad *: starting: nothing has been read yet"`}},
		{"refused", []discovery.Status{{Source: "nomad *", Phase: discovery.Starting, Since: since, Problem: "permission denied"}}, false, false, []string{`starting: nothing has been read yet: permission denied`}},
		{"cached", []discovery.Status{{Source: "nomad *", Phase: discovery.Cached, Since: since, Problem: "no agent answers"}}, true, true, []string{`served from the cache of 2026-01-02T03:04:05Z: no agent answers`}},
		{"live", []discovery.Status{live}, true, false, []string{`"says": "live since 2026-01-02T03:04:05Z"`, `"services": 2`}},
		{"polling", []discovery.Status{{Source: "nomad *", Phase: discovery.Polling, Since: since, Problem: "event stream refused"}}, true, false, []string{`polling since 2026-01-02T03:04:05Z: event stream refused`}},
		{"forbidden", []discovery.Status{{Source: "nomad *", Phase: discovery.Polling, Since: since, Problem: "event stream refused",
			Forbidden: []discovery.Forbidden{{Namespace: "team-b", Since: since, Problem: "permission denied"}}}}, true, false,
			[]string{`event stream refused; namespace \"team-b\" is stale since 2026-01-02T03:04:05Z: permission denied`, `"namespace": "team-b"`}},
		{"stale", []discovery.Status{{Source: "nomad *", Phase: discovery.Stale, Since: since, Problem: "nomad agent unreachable"}}, true, false, []string{`stale since 2026-01-02T03:04:05Z: nomad agent unreachable`, `"phase": "stale"`, `"since": "2026-01-02T03:04:05Z"`}},
		{"one of two", []discovery.Status{live, {Source: "file a", Phase: discovery.Starting}}, false, false, []string{`file a: starting`, `nomad *`}},
		{"consul is away", []discovery.Status{live, {Source: "consul", Phase: discovery.Starting, Since: since, Problem: "consul agent unreachable", Away: true}}, true, false,
			[]string{`ready without consul: requests for hosts that are not known are answered 503`, `consul: starting: nothing has been read yet: consul agent unreachable`}},
		{"consul is away since a moment", []discovery.Status{live, {Source: "consul", Phase: discovery.Starting, Since: time.Now().Add(time.Hour), Problem: "consul agent unreachable", Away: true}}, false, false, []string{`consul: starting`}},
		{"consul refuses one service", []discovery.Status{live, {Source: "consul", Phase: discovery.Starting, Since: since, Problem: "1 of 2 services cannot be followed"}}, false, false, []string{`consul: starting`}},
		{"all are away", []discovery.Status{{Source: "file a", Phase: discovery.Live, Static: true}, {Source: "nomad *", Phase: discovery.Starting, Since: since, Problem: "no agent answers", Away: true}}, false, false, []string{`nomad *: starting`}},
		{"none", nil, true, false, []string{`"sources": []`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := &sources{}
			source.set(c.list...)
			n := newNode(t, admin.Options{Sources: []admin.Reporter{source}}, router.Options{})
			if status, body := n.get("/ready"); n.admin.Ready() || status != 503 || !strings.Contains(body, "serai is starting: there is no complete routing table yet") {
				t.Errorf("ready before the first table: %d %s", status, body)
			}
			n.publish()
			status, body := n.get("/ready")
			if n.admin.Ready() != c.ready || (status == 200) != c.ready || status != 200 && status != 503 {
				t.Errorf("Ready %v, status %d, want ready %v", n.admin.Ready(), status, c.ready)
			}
			for _, want := range c.says {
				if !strings.Contains(body, want) {
					t.Errorf("no %s in %s", want, body)
				}
			}
			var answer admin.Readiness
			if n.read("/ready", &answer); answer.Ready != c.ready || answer.FromCache != c.cache || answer.Draining {
				t.Errorf("want ready %v, from cache %v: %+v", c.ready, c.cache, answer)
			}
			if c.name == "live" && len(answer.Why) > 0 {
				t.Errorf("nothing is wrong, but: %v", answer.Why)
			}

			n.admin.Drain()
			status, body = n.get("/ready")
			if n.admin.Ready() || status != 503 || !strings.Contains(body, `"draining": true`) || !strings.Contains(body, "stopping") {
				t.Errorf("ready while draining: %d %s", status, body)
			}
			n.publish() // tables go on
			if n.admin.Ready() {
				t.Error("a table ended the drain")
			}
			if status, _ := n.get("/health"); status != 200 {
				t.Errorf("a drain is not ill: /health answered %d", status)
			}
		})
	}
}

// TestPartialTable waits for the services of all sources: their status is ahead of the
// table that has them.
func TestPartialTable(t *testing.T) {
	source := &sources{}
	source.set(discovery.Status{Source: "nomad *", Phase: discovery.Live}, discovery.Status{Source: "file a", Phase: discovery.Live})
	n := newNode(t, admin.Options{Sources: []admin.Reporter{source}}, router.Options{})
	n.admin.Published(&discovery.Snapshot{Partial: true}, 0)
	if n.admin.Ready() {
		t.Error("ready with the table of one source of two")
	}
	n.admin.Published(&discovery.Snapshot{}, 0)
	if !n.admin.Ready() {
		t.Error("not ready with the table of both")
	}
	n.admin.Published(&discovery.Snapshot{Partial: true}, 0)
	if !n.admin.Ready() {
		t.Error("a later table took readiness away")
	}
}

// BenchmarkReady is what a health check costs.
func BenchmarkReady(b *testing.B) {
	source := &sources{}
	source.set(discovery.Status{Source: "nomad *", Phase: discovery.Live})
	n := newNode(b, admin.Options{Sources: []admin.Reporter{source}}, router.Options{})
	n.publish()
	b.ReportAllocs()
	for b.Loop() {
		if !n.admin.Ready() {
			b.Fatal("not ready")
		}
	}
}

package consulsim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	register   = "/v1/agent/service/register"
	deregister = "/v1/agent/service/deregister/"
	webTTL     = `{"Name": "web", "Port": 80, "Check": {"TTL": "1h", "Status": "passing"}}`
	healthWeb  = "/v1/health/service/web"
)

// status reports whether a service has one instance whose worst check is as given.
func status(t *testing.T, want string) func(answer) bool {
	return func(a answer) bool {
		all := instances(t, a)
		if len(all) != 1 {
			return false
		}
		worst := "passing"
		for _, c := range all[0].Checks {
			if c.Status == "critical" || c.Status == "warning" && worst == "passing" {
				worst = c.Status
			}
		}
		return worst == want
	}
}

func contains(text string) func(answer) bool {
	return func(a answer) bool { return strings.Contains(a.body, text) }
}

func without(text string) func(answer) bool {
	return func(a answer) bool { return !strings.Contains(a.body, text) }
}

// contractWakes changes everything that an answer contains while a query waits for it.
func contractWakes(t *testing.T, c cluster) {
	api := callerOf(t, c, "")
	api.put(t, register, webTTL)
	api.eventually(t, healthWeb, "registration", status(t, "passing"))
	for _, step := range []struct {
		what, path string
		method     string
		change     string
		body       string
		seen       func(answer) bool
	}{
		{"a warning", healthWeb, "PUT", "/v1/agent/check/warn/service:web", "", status(t, "warning")},
		{"a failure", healthWeb, "PUT", "/v1/agent/check/fail/service:web?note=why", "", status(t, "critical")},
		{"a recovery", healthWeb, "PUT", "/v1/agent/check/pass/service:web", "", status(t, "passing")},
		{"a failure, for the list of failures", "/v1/health/state/critical", "PUT", "/v1/agent/check/fail/service:web", "", contains("service:web")},
		{"a recovery, for the list of failures", "/v1/health/state/critical", "PUT", "/v1/agent/check/pass/service:web", "", without("service:web")},
		{"a failure, for all checks, filtered", `/v1/health/state/any?filter=ServiceName==web`, "PUT", "/v1/agent/check/fail/service:web", "", contains("critical")},
		{"a failure, for passing ones only", healthWeb + "?passing", "PUT", "/v1/agent/check/pass/service:web", "", status(t, "passing")},
		{"maintenance", healthWeb, "PUT", "/v1/agent/service/maintenance/web?enable=true&reason=repair", "", status(t, "critical")},
		{"the end of maintenance", healthWeb, "PUT", "/v1/agent/service/maintenance/web?enable=false", "", status(t, "passing")},
		{"maintenance of the node", healthWeb, "PUT", "/v1/agent/maintenance?enable=true", "", status(t, "critical")},
		{"the end of maintenance of the node", healthWeb, "PUT", "/v1/agent/maintenance?enable=false", "", status(t, "passing")},
		{"other tags", healthWeb, "PUT", register, strings.Replace(webTTL, `"Port"`, `"Tags": ["v2"], "Port"`, 1), contains("v2")},
		{"other tags, in the catalog", "/v1/catalog/service/web", "PUT", register, strings.Replace(webTTL, `"Port"`, `"Tags": ["v3"], "Port"`, 1), contains("v3")},
		{"other tags, in the list", "/v1/catalog/services", "PUT", register, strings.Replace(webTTL, `"Port"`, `"Tags": ["v4"], "Port"`, 1), contains("v4")},
		{"a new service, for the list", "/v1/catalog/services", "PUT", register, `{"Name": "other"}`, contains("other")},
		{"a new service, for who waits for it", "/v1/health/service/new", "PUT", register, `{"Name": "new"}`, contains(`"new"`)},
		{"an instance elsewhere", healthWeb, "PUT", "/v1/catalog/register", `{"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "web", "Port": 1}}`, contains("10.0.0.2")},
		{"another address of the node elsewhere", healthWeb, "PUT", "/v1/catalog/register", `{"Node": "n2", "Address": "10.0.0.3"}`, contains("10.0.0.3")},
		{"the loss of the node elsewhere", healthWeb, "PUT", "/v1/catalog/register", `{"Node": "n2", "Address": "10.0.0.3", "Check": {"Name": "serfHealth", "CheckID": "serfHealth", "Status": "critical"}}`, contains("critical")},
		{"the removal of the node elsewhere", healthWeb, "PUT", "/v1/catalog/deregister", `{"Node": "n2"}`, without("10.0.0.3")},
		{"a node, for the list of nodes", "/v1/catalog/nodes", "PUT", "/v1/catalog/register", `{"Node": "n3", "Address": "10.0.0.4"}`, contains("n3")},
		{"a sidecar", "/v1/health/connect/web", "PUT", register, `{"Name": "web-sidecar", "Kind": "connect-proxy", "Port": 81, "Proxy": {"DestinationServiceName": "web"}}`, contains("web-sidecar")},
		{"the end of the only instance", healthWeb, "PUT", deregister + "web", "", contains("[]")},
		{"the end of a service, for the list", "/v1/catalog/services", "PUT", deregister + "other", "", without("other")},
	} {
		before := api.get(t, step.path).index(t)
		w := api.block(t, step.path, before, "10m")
		api.put(t, step.change, step.body)
		if a := w.woken(t); a.status != 200 || a.index(t) <= before {
			t.Errorf("%s: %s ended with %d at %d; want 200 after %d", step.what, step.path, a.status, a.index(t), before)
		}
		api.eventually(t, step.path, step.what, step.seen)
	}
}

// contractSleeps makes changes that do not concern a query: its index stays.
func contractSleeps(t *testing.T, c cluster) {
	api := callerOf(t, c, "")
	api.put(t, register, webTTL)
	api.eventually(t, healthWeb, "registration", status(t, "passing"))
	paths := []string{healthWeb, "/v1/catalog/service/web", "/v1/catalog/services", "/v1/health/state/any", "/v1/catalog/nodes"}
	for _, step := range []struct {
		what, change, body string
		path               string
		seen               func(answer) bool
		moves              string // the paths whose index advances
	}{
		{"another service", register, `{"Name": "other", "Check": {"TTL": "1h"}}`, "/v1/health/service/other", status(t, "critical"), "/v1/catalog/services /v1/catalog/nodes /v1/health/state/any"},
		{"its health", "/v1/agent/check/pass/service:other", "", "/v1/health/service/other", status(t, "passing"), "/v1/health/state/any"},
		{"another service without checks", register, `{"Name": "plain"}`, "/v1/health/service/plain", contains("plain"), "/v1/catalog/services /v1/catalog/nodes"},
		{"another node", "/v1/catalog/register", `{"Node": "n2", "Address": "10.0.0.2"}`, "/v1/catalog/nodes", contains("n2"), "/v1/catalog/nodes"},
		{"the same node again", "/v1/catalog/register", `{"Node": "n2", "Address": "10.0.0.2"}`, "/v1/catalog/nodes", contains("n2"), ""},
		{"the same service again", register, webTTL, healthWeb, status(t, "passing"), ""},
		{"the same state again", "/v1/agent/check/pass/service:web", "", healthWeb, status(t, "passing"), ""},
		{"other output of the same state", "/v1/agent/check/pass/service:web?note=fine", "", healthWeb, status(t, "passing"), ""},
		{"its own health", "/v1/agent/check/warn/service:web", "", healthWeb, status(t, "warning"), healthWeb + " /v1/catalog/service/web /v1/health/state/any"},
	} {
		before := map[string]uint64{}
		for _, p := range paths {
			before[p] = api.get(t, p).index(t)
		}
		api.put(t, step.change, step.body)
		api.eventually(t, step.path, step.what, step.seen)
		for _, p := range paths {
			a := api.get(t, p)
			moved := a.index(t) != before[p]
			want := false
			for _, m := range strings.Fields(step.moves) {
				want = want || m == p
			}
			if moved != want {
				t.Errorf("%s: index of %s was %d, is %d; moved: want %v", step.what, p, before[p], a.index(t), want)
			}
		}
	}
}

// contractWaits is about waits that end by time.
func contractWaits(t *testing.T, c cluster) {
	api := callerOf(t, c, "")
	api.put(t, register, webTTL)
	now := api.eventually(t, healthWeb, "registration", status(t, "passing")).index(t)
	for _, path := range []string{healthWeb, healthWeb + "?stale", healthWeb + "?passing&tag=none", "/v1/catalog/services", "/v1/health/state/any?filter=ServiceName==none"} {
		current := api.get(t, path).index(t)
		begun := time.Now()
		a := api.get(t, after(path, current, "50ms"))
		if a.index(t) != current || time.Since(begun) < 50*time.Millisecond {
			t.Errorf("%s: waited %v, and index %d became %d without a change", path, time.Since(begun), current, a.index(t))
		}
		// An index of the future, as of a cluster that was there before, is waited for,
		// and then it goes back.
		begun = time.Now()
		a = api.get(t, after(path, current+1000, "50ms"))
		if a.status != 200 || a.index(t) != current || time.Since(begun) < 50*time.Millisecond {
			t.Errorf("%s: after an index of the future, waited %v: %d at %d; want %d", path, time.Since(begun), a.status, a.index(t), current)
		}
		if a := api.get(t, after(path, 1, "10m")); a.index(t) != current {
			t.Errorf("%s: after an index of the past: %d; want %d", path, a.index(t), current)
		}
	}
	// The shortest wait is none: without a value the default counts, so only its end by
	// a change shows it.
	w := api.block(t, healthWeb, now, "0s")
	api.put(t, "/v1/agent/check/fail/service:web", "")
	if a := w.woken(t); a.index(t) <= now {
		t.Errorf("wait=0s ended at %d without a change; want the default wait", a.index(t))
	}
}

// contractTTL lets a TTL end.
func contractTTL(t *testing.T, c cluster) {
	api := callerOf(t, c, "")
	api.put(t, register, `{"Name": "web", "Check": {"TTL": "1s"}}`)
	api.put(t, "/v1/agent/check/pass/service:web?note=well", "")
	api.eventually(t, healthWeb, "pass", status(t, "passing"))
	a := api.eventually(t, healthWeb, "the end of the TTL", status(t, "critical"))
	for _, ch := range instances(t, a)[0].Checks {
		if ch.CheckID == "service:web" && ch.Output != "TTL expired (last output before timeout follows): well" {
			t.Errorf("output of a TTL that has ended: %q", ch.Output)
		}
	}
	api.put(t, "/v1/agent/check/pass/service:web", "")
	api.eventually(t, healthWeb, "another pass", status(t, "passing"))
}

// contractAntiEntropy changes in the catalog what an agent has registered: it comes
// back, and what the agent does not know goes.
func contractAntiEntropy(t *testing.T, c cluster) {
	api := callerOf(t, c, "")
	api.put(t, register, webTTL)
	api.eventually(t, healthWeb, "registration", status(t, "passing"))
	api.put(t, "/v1/catalog/deregister", `{"Node": "node1", "ServiceID": "web"}`)
	api.put(t, "/v1/catalog/register", `{"Node": "node1", "Address": "127.0.0.1", "SkipNodeUpdate": true, "Service": {"Service": "foreign"}}`)
	if a := api.get(t, healthWeb); len(instances(t, a)) != 0 {
		t.Fatalf("after its removal from the catalog: %s", a.body)
	}
	api.get(t, "/v1/agent/services") // the agent still has it
	c.sync()
	for range 3 { // a real agent takes two minutes at most
		a := api.get(t, after(healthWeb, 1, "10m"))
		if len(instances(t, a)) == 1 {
			break
		}
		api.get(t, after(healthWeb, a.index(t), "80s"))
	}
	api.eventually(t, healthWeb, "its return", status(t, "passing"))
	api.eventually(t, "/v1/health/service/foreign", "the end of what the agent does not know", contains("[]"))
}

// contractNear asks for the nearest first. A real agent knows after half a minute how far
// its own node is from itself; of nodes without an agent nobody knows it.
func contractNear(t *testing.T, c cluster) {
	api := callerOf(t, c, "")
	api.put(t, register, webTTL)
	api.put(t, "/v1/catalog/register", `{"Node": "a-node", "Address": "10.0.0.2", "Service": {"Service": "web"}}`)
	first := func(node string) func(answer) bool {
		return func(a answer) bool {
			all := instances(t, a)
			return len(all) == 2 && all[0].Node.Node == node
		}
	}
	api.eventually(t, healthWeb, "the order of names", first("a-node"))
	for _, near := range []string{"_agent", "node1"} {
		api.eventually(t, healthWeb+"?near="+near, "the own node first", first("node1"))
	}
	if a := api.get(t, healthWeb+"?near=a-node"); !first("a-node")(a) {
		t.Errorf("near another node: %s", a.body)
	}
}

// contractRestart restarts an agent that forgets everything: it says that nothing is
// there, in the same words as if that were true, and counts from the start.
func contractRestart(t *testing.T, c cluster) {
	api := callerOf(t, c, "")
	for i := range 40 {
		api.put(t, "/v1/catalog/register", fmt.Sprintf(`{"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "web", "Port": %d}}`, i+1))
	}
	before := api.eventually(t, healthWeb, "registration", count(t, 1)).index(t)
	w := api.block(t, healthWeb, before, "5s")
	c.restart(t)
	// It fails with the agent, unless it has not arrived before.
	if r := <-w.done; r.err == nil && (r.answer.status != 200 || r.answer.body != "[]" || r.answer.index(t) >= before) {
		t.Errorf("a query that waited for an agent that ended got %d %v %s", r.answer.status, r.answer.head, r.answer.body)
	}
	a := api.get(t, healthWeb)
	if a.body != "[]" || a.index(t) >= before || a.head.Get("X-Consul-KnownLeader") != "true" {
		t.Errorf("after a restart: %d %v %s; want an empty list before index %d", a.status, a.head, a.body, before)
	}
	// Who still has the old index gets the same when its wait is over.
	if a := api.get(t, after(healthWeb, before, "50ms")); a.body != "[]" || a.index(t) >= before {
		t.Errorf("after a restart, with an old index: %d %v %s", a.status, a.head, a.body)
	}
}

// contractRestore goes back to a snapshot.
func contractRestore(t *testing.T, c cluster) {
	api := callerOf(t, c, "")
	external := func(port int) {
		t.Helper()
		api.put(t, "/v1/catalog/register", fmt.Sprintf(`{"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "web", "Port": %d}}`, port))
	}
	external(1)
	old := api.get(t, healthWeb)
	restore := c.save(t)
	external(2)
	before := api.get(t, healthWeb).index(t)
	w := api.block(t, healthWeb, before, "10m")
	restore()
	a := api.eventually(t, healthWeb, "the old state", func(a answer) bool { return a.status == 200 && a.body == old.body })
	if a.index(t) != old.index(t) {
		t.Errorf("after a restore: index %d; want the old one, %d", a.index(t), old.index(t))
	}
	external(3)
	if a := api.eventually(t, healthWeb, "a change", contains(`"Port":3`)); a.index(t) <= before {
		t.Errorf("the first change after a restore: index %d; want one after %d, the last before it", a.index(t), before)
	}
	// The restore has ended its wait, or the change, if it came after the restore.
	if a := w.woken(t); a.status != 200 {
		t.Errorf("a query that waited during a restore: %d %s", a.status, a.body)
	}
}

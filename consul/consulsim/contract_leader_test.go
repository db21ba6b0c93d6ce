package consulsim_test

import (
	"strconv"
	"testing"
)

// electorate is an agent whose servers can lose their leader.
type electorate interface {
	cluster
	// setLeader ends the majority of the servers, or brings it back.
	setLeader(t *testing.T, known bool)
}

// contractLeader loses the leader, and gets another one.
func contractLeader(t *testing.T, c electorate) {
	api := callerOf(t, c, "")
	api.put(t, "/v1/catalog/register", `{"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "web", "Port": 80}}`)
	before := api.eventually(t, healthWeb+"?stale", "registration", count(t, 1))
	c.setLeader(t, false)
	api.eventually(t, "/v1/status/leader", "the loss of the leader", func(a answer) bool { return a.body == `""` })

	for _, path := range []string{healthWeb, "/v1/catalog/services", "/v1/health/state/any", healthWeb + "?consistent", after("/v1/catalog/services", 1, "1s")} {
		if a := api.do(t, "GET", path, ""); a.status != 500 || a.body != "No cluster leader" {
			t.Errorf("GET %s without a leader: %d %s", path, a.status, a.body)
		}
	}
	if a := api.do(t, "PUT", "/v1/catalog/register", `{"Node": "n3", "Address": "10.0.0.3"}`); a.status != 500 || a.body != "No cluster leader" {
		t.Errorf("a write without a leader: %d %s", a.status, a.body)
	}
	for _, path := range []string{healthWeb + "?stale", after(healthWeb+"?stale", before.index(t), "10ms")} {
		a := api.get(t, path)
		contact, err := strconv.Atoi(a.head.Get("X-Consul-LastContact"))
		if a.body != before.body || a.index(t) != before.index(t) || a.head.Get("X-Consul-KnownLeader") != "false" || err != nil || contact < 0 {
			t.Errorf("GET %s without a leader: %v %s; want the old answer %s, and that no leader is known", path, a.head, a.body, before.body)
		}
	}
	// What is streamed needs no leader, and does not say that there is none.
	if a := api.get(t, after(healthWeb, 1, "1s")); a.body != before.body || a.head.Get("X-Consul-KnownLeader") != "false" {
		t.Errorf("a streamed query without a leader: %v %s", a.head, a.body)
	}
	// The agent itself needs no server.
	api.put(t, register, `{"Name": "late"}`)
	if a := api.get(t, "/v1/agent/services"); !contains("late")(a) {
		t.Errorf("the agent's services without a leader: %s", a.body)
	}
	if a := api.get(t, "/v1/health/service/late?stale"); a.body != "[]" {
		t.Errorf("what was registered without a leader: %s", a.body)
	}

	c.setLeader(t, true)
	api.eventually(t, "/v1/status/leader", "another leader", func(a answer) bool { return len(a.body) > 2 })
	a := api.eventually(t, healthWeb, "its answer", func(a answer) bool { return a.status == 200 })
	if a.body != before.body || a.head.Get("X-Consul-KnownLeader") != "true" {
		t.Errorf("with another leader: %v %s; want %s", a.head, a.body, before.body)
	}
	api.eventually(t, "/v1/health/service/late", "what was registered meanwhile", func(a answer) bool { return a.status == 200 && contains("late")(a) })
}

// contractLeaderWait loses the leader, and gets another one, while a stale query waits:
// that goes on.
func contractLeaderWait(t *testing.T, c electorate) {
	api := callerOf(t, c, "")
	api.put(t, "/v1/catalog/register", `{"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "web", "Port": 80}}`)
	before := api.eventually(t, healthWeb+"?stale", "registration", count(t, 1)).index(t)
	stale := api.block(t, healthWeb+"?stale", before, "10m")
	c.setLeader(t, false)
	api.eventually(t, "/v1/status/leader", "the loss of the leader", func(a answer) bool { return a.body == `""` })
	c.setLeader(t, true)
	for a := (answer{}); a.status != 200; {
		a = api.do(t, "PUT", "/v1/catalog/register", `{"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "web", "Port": 81}}`)
	}
	if a := stale.woken(t); a.status != 200 || a.index(t) <= before || !contains(`"Port":81`)(a) {
		t.Errorf("a stale query that waited while the leader was lost: %d %v %s; want the first change after %d", a.status, a.head, a.body, before)
	}
}

package nomad_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

func TestKillTimeout(t *testing.T) {
	const job = `{"ID":"serai","TaskGroups":[{"Name":"edge","Tasks":[{"Name":"log","KillTimeout":1},{"Name":"serai","KillTimeout":45000000000}]},{"Name":"x","Tasks":null}]}`
	var path string
	c := connect(t, nomad.Options{Address: serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.RequestURI()
		io.WriteString(w, job)
	}))})
	task := nomad.Task{Namespace: "infra", Job: "team/serai", Group: "edge", Name: "serai"}
	if got, err := c.KillTimeout(testContext(t), task); err != nil || got != 45*time.Second {
		t.Errorf("got %v, %v; want 45s", got, err)
	}
	if want := "/v1/job/team%2Fserai?namespace=infra&stale="; path != want {
		t.Errorf("asked for %s; want %s", path, want)
	}
	task.Name = "other"
	_, err := c.KillTimeout(testContext(t), task)
	check(t, err, nomad.ErrNotFound, `read job "team/serai" in namespace "infra"`, `no task "other" in group "edge"`)

	for _, tc := range []struct {
		serve http.HandlerFunc
		kind  error
		says  string
	}{
		{fault(nomadsim.Status(404, "job not found")), nomad.ErrNotFound, "job not found"},
		{http.NotFound, nomad.ErrBadAnswer, "check NOMAD_ADDR"},
		{fault(nomadsim.Forbidden()), nomad.ErrForbidden, "policy"},
		{answer("null"), nomad.ErrBadAnswer, "null"},
		{answer("[]"), nomad.ErrBadAnswer, ""},
		{answer(`{"TaskGroups":[{"Tasks":[{"KillTimeout":"5s"}]}]}`), nomad.ErrBadAnswer, "KillTimeout"},
	} {
		_, err := connect(t, nomad.Options{Address: serve(t, tc.serve)}).KillTimeout(testContext(t), task)
		check(t, err, tc.kind, "read job", tc.says)
	}
}

func TestLeader(t *testing.T) {
	for _, tc := range []struct {
		body string
		kind error
		says string
	}{
		{`""`, nomad.ErrUnavailable, "electing a leader"},
		{`{}`, nomad.ErrBadAnswer, ""},
		{`null`, nomad.ErrBadAnswer, "null"},
	} {
		_, err := connect(t, nomad.Options{Address: serve(t, answer(tc.body))}).Leader(testContext(t))
		check(t, err, tc.kind, "ask for the leader", tc.says)
	}
	sim := nomadsim.New(nomadsim.Options{})
	c := connect(t, nomad.Options{Address: simulate(t, sim)})
	if leader, err := c.Leader(testContext(t)); err != nil || leader == "" {
		t.Errorf("%q, %v", leader, err)
	}
	sim.SetLeader(false)
	_, err := c.Leader(testContext(t))
	check(t, err, nomad.ErrUnavailable, "electing a leader")
}

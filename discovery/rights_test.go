package discovery_test

import (
	"slices"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

var readJobs = []nomadsim.Rule{{Namespace: "*", Capabilities: []string{"read-job"}}}

// identity is the token of a workload with these rules.
func identity(workload bool, rules ...nomadsim.Rule) nomadsim.Token {
	return nomadsim.Token{Secret: "s", Workload: workload, Namespace: "default", Job: "serai", Rules: rules}
}

// TestRightLostForAWhile: whoever takes the policy away and gives it back, what
// exists stays known in every namespace, and what is new is found soon after.
func TestRightLostForAWhile(t *testing.T) {
	for name, c := range map[string]struct {
		workload bool
		away     []nomadsim.Rule // what is left meanwhile
	}{
		"workload identity, nothing left":   {true, nil},
		"workload identity, one namespace":  {true, []nomadsim.Rule{{Namespace: "team-a", Capabilities: []string{"read-job"}}}},
		"workload identity, one is missing": {true, append(slices.Clone(readJobs), nomadsim.Rule{Namespace: "team-b", Capabilities: []string{"list-jobs"}})},
		"token, nothing left":               {false, nil},
		"token, one namespace":              {false, []nomadsim.Rule{{Namespace: "team-a", Capabilities: []string{"read-job"}}}},
		"token, one is missing":             {false, append(slices.Clone(readJobs), nomadsim.Rule{Namespace: "team-b", Capabilities: []string{"list-jobs"}})},
	} {
		for refusal, how := range map[string]nomadsim.Refusal{"end": nomadsim.RefusalEOF, "silence": nomadsim.RefusalSilence, "403": nomadsim.RefusalForbidden} {
			t.Run(name+", refused with "+refusal, func(t *testing.T) {
				t.Parallel()
				a := newAgent(t, nomadsim.Options{ACL: true, Refusal: how})
				for _, ns := range []string{"team-a", "team-b", "empty"} {
					a.CreateNamespace(ns)
				}
				a.PutToken(identity(c.workload, readJobs...))
				all := []string{"default/web/1", "team-a/web/2", "team-b/web/3"}
				a.Register(reg("web", "1"), regIn("team-a", "web", "2"), regIn("team-b", "web", "3"))
				client := newClient(t, nomad.Options{Address: a.url, Token: "s", Limits: nomad.Limits{FirstLine: 200 * time.Millisecond}})
				w := nomadWatch(t, a, discovery.WatcherOptions{Client: client})
				w.has(all...)
				w.until("life", live)

				a.PutToken(identity(c.workload, c.away...))
				s := w.until("the loss", func(s discovery.Status) bool { return s.Phase != discovery.Live && s.Problem != "" })
				time.Sleep(300 * time.Millisecond)
				a.Register(regIn("empty", "new", "4"))
				time.Sleep(300 * time.Millisecond)
				back := time.Now()
				a.PutToken(identity(c.workload, readJobs...))
				w.has(append(all, "empty/new/4")...)
				if took := time.Since(back); took > 10*time.Second {
					t.Errorf("what is new was found after %v", took)
				}
				w.until("life", live)
				for _, id := range all {
					w.neverWithout(id)
				}
				t.Logf("meanwhile %s: %s; found after %v", s.Phase, s.Problem, time.Since(back))
			})
		}
	}
}

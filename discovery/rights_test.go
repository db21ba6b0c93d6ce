package discovery_test

import (
	"fmt"
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

// TestRightLostForAWhile: when the policy is removed and restored, what exists stays
// known in every namespace, and what is new is found soon after.
func TestRightLostForAWhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		workload bool
		away     []nomadsim.Rule // what is left of the policy meanwhile
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
				if !c.workload { // a workload may read what it names
					w.until("what is forbidden", func(s discovery.Status) bool {
						return slices.ContainsFunc(s.Forbidden, func(f discovery.Forbidden) bool {
							return f.Namespace == "team-b" && !f.Since.IsZero() && f.Problem != ""
						})
					})
				}
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
				if len(w.status()[0].Forbidden) > 0 {
					t.Errorf("still forbidden: %+v", w.status()[0])
				}
				t.Logf("meanwhile %s: %s; found after %v", s.Phase, s.Problem, time.Since(back))
			})
		}
	}
}

// TestStartWithoutRights works within seconds of the policy, and makes few requests
// until then.
func TestStartWithoutRights(t *testing.T) {
	t.Parallel()
	for name, workload := range map[string]bool{"workload identity": true, "token": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nomadsim.Options{ACL: true})
			a.CreateNamespace("team-a")
			a.PutToken(identity(workload))
			a.Register(regIn("team-a", "web", "1"))
			w := nomadWatch(t, a, discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: a.url, Token: "s"})})
			w.until("a refusal", func(s discovery.Status) bool { return s.Problem != "" })
			time.Sleep(time.Second)
			before := a.Counts().Requests
			const watched = 5 * time.Second
			time.Sleep(watched)
			for kind, n := range a.Counts().Requests {
				if n -= before[kind]; n > 4 {
					t.Errorf("%d requests for %s in %v without any right", n, kind, watched)
				}
			}
			back := time.Now()
			a.PutToken(identity(workload, readJobs...))
			w.has("team-a/web/1")
			w.until("life", live)
			if took := time.Since(back); took > 10*time.Second {
				t.Errorf("the right was used after %v", took)
			}
		})
	}
}

// TestNamedNamespaceForbidden: a namespace that the operator named is kept, reported,
// and read again in the same way.
func TestNamedNamespaceForbidden(t *testing.T) {
	a := newAgent(t, nomadsim.Options{ACL: true})
	a.CreateNamespace("team-a")
	one := nomadsim.Rule{Namespace: "team-a", Capabilities: []string{"read-job"}}
	two := nomadsim.Rule{Namespace: "default", Capabilities: []string{"read-job"}}
	a.PutToken(identity(false, one, two))
	a.Register(reg("web", "1"), regIn("team-a", "web", "2"))
	names, err := discovery.ParseNamespaces([]string{"default", "team-a"})
	if err != nil {
		t.Fatal(err)
	}
	w := nomadWatch(t, a, discovery.WatcherOptions{Namespaces: names, Retry: 50 * time.Millisecond, Client: newClient(t, nomad.Options{Address: a.url, Token: "s"})})
	w.has("default/web/1", "team-a/web/2")
	a.PutToken(identity(false, two))
	w.until("what is forbidden", func(s discovery.Status) bool {
		return s.Source == "nomad team-a" && s.Phase == discovery.Stale && len(s.Forbidden) == 1
	})
	a.Register(reg("web", "3"), regIn("team-a", "web", "4"))
	w.has("default/web/1", "default/web/3", "team-a/web/2")
	a.PutToken(identity(false, one, two))
	w.has("default/web/1", "default/web/3", "team-a/web/2", "team-a/web/4")
	w.until("nothing forbidden", func(s discovery.Status) bool {
		return s.Source == "nomad team-a" && live(s) && len(s.Forbidden) == 0
	})
}

// TestDeletedNamespaceDisappears while a permission is missing, and when the token may
// read only what its policies name.
func TestDeletedNamespaceDisappears(t *testing.T) {
	t.Parallel()
	byName := []nomadsim.Rule{{Namespace: "default", Capabilities: []string{"read-job"}}, {Namespace: "team-a", Capabilities: []string{"read-job"}}}
	for name, c := range map[string]struct {
		workload            bool
		before, after, back []nomadsim.Rule
		meanwhile           []string
	}{
		"workload identity without a policy": {true, readJobs, nil, readJobs, []string{"default/web/1"}},
		"token for all":                      {false, readJobs, readJobs, readJobs, []string{"default/web/1"}},
		"token without rights":               {false, readJobs, nil, readJobs, []string{"default/web/1", "team-a/web/2"}},
		"token by name":                      {false, byName, byName[:1], byName[:1], []string{"default/web/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nomadsim.Options{ACL: true})
			a.CreateNamespace("team-a")
			a.PutToken(identity(c.workload, c.before...))
			a.Register(reg("web", "1"), regIn("team-a", "web", "2"))
			w := nomadWatch(t, a, discovery.WatcherOptions{Retry: 50 * time.Millisecond, Client: newClient(t, nomad.Options{Address: a.url, Token: "s"})})
			w.has("default/web/1", "team-a/web/2")
			w.until("life", live)
			remove := a.Inject("", nomadsim.NoLeader()) // the deletion goes unnoticed
			a.EndStreams()
			w.until("the loss", func(s discovery.Status) bool { return s.Breaks > 0 })
			a.Deregister("team-a", "2")
			a.Noise(200)
			a.DeleteNamespace("team-a")
			a.PutToken(identity(c.workload, c.after...))
			remove()
			w.has(c.meanwhile...)
			a.PutToken(identity(c.workload, c.back...))
			w.has("default/web/1")
			w.until("life, and nothing forbidden", func(s discovery.Status) bool { return live(s) && len(s.Forbidden) == 0 })
		})
	}
}

// TestManyNamespacesByName: when there are more than can be followed at once, they are
// followed one after the other.
func TestManyNamespacesByName(t *testing.T) {
	t.Parallel()
	a := newAgent(t, nomadsim.Options{ACL: true})
	a.PutToken(identity(true, readJobs...))
	var all []string
	for i := range 20 {
		name := fmt.Sprintf("team-%02d", i)
		a.CreateNamespace(name)
		a.Register(regIn(name, "web", "1"))
		all = append(all, name+"/web/1")
	}
	w := nomadWatch(t, a, discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: a.url, Token: "s"})})
	w.has(all...)
	w.until("life", live)
	a.PutToken(identity(true))
	w.until("lists", func(s discovery.Status) bool { return s.Phase == discovery.Polling })
	if n := a.Counts().Blocked; n > 16 {
		t.Errorf("%d namespaces are waited for at once", n)
	}
	for i := range 20 {
		name := fmt.Sprintf("team-%02d", i)
		a.Register(regIn(name, "web", "2"))
		all = append(all, name+"/web/2")
	}
	old := slices.Clone(all[:20])
	w.has(all...)
	for _, id := range old {
		w.neverWithout(id)
	}
}

package nomadsim_test

import (
	"errors"
	"slices"
	"testing"

	"serai/nomad"
)

// contractJobServices: the services that a job should register are reported through its
// whole life.
func contractJobServices(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	c.createNamespace(t, "asked")
	a := app{namespace: "asked", name: "asked-a", tags: []string{"x=1", "y=${node.class}"}, canaryTags: []string{"z=2"}, count: 1}
	read := func(stale bool) ([]nomad.JobService, error) {
		return cl.JobServices(ctx, a.name, nomad.Query{Namespace: a.namespace, Stale: stale})
	}
	_, err := read(true)
	is(t, "a job that never was", err, nomad.ErrNotFound)

	same := func(s nomad.JobService) bool {
		return s.Name == a.name && slices.Equal(s.Tags, a.tags) && slices.Equal(s.CanaryTags, a.canaryTags)
	}
	c.deploy(t, a)
	if got, err := read(false); err != nil || len(got) != 1 || !same(got[0]) {
		t.Errorf("a job that runs: %+v, %v", got, err)
	}
	a.count = 0
	c.deploy(t, a)
	if got, err := read(false); err != nil || len(got) != 0 {
		t.Errorf("a job that is scaled to zero: %+v, %v", got, err)
	}
	a.count, a.canaryTags = 1, nil
	c.deploy(t, a)
	if got, err := read(true); err != nil || len(got) != 1 || !same(got[0]) {
		t.Errorf("a job that runs again: %+v, %v", got, err)
	}
	c.halt(t, a)
	if got, err := read(false); err != nil || len(got) != 0 {
		t.Errorf("a job that is stopped: %+v, %v", got, err)
	}
	c.stop(t, a)
	_, err = read(false)
	is(t, "a job that was purged", err, nomad.ErrNotFound)
	_, err = cl.JobServices(ctx, a.name, nomad.Query{Namespace: "default"})
	is(t, "a job of another namespace", err, nomad.ErrNotFound)
}

// contractMissingVariable: the answer for a missing variable has an index with which to
// wait for it.
func contractMissingVariable(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	const path = "missing/one"
	_, meta, err := cl.Variable(ctx, path, nomad.Query{})
	is(t, "read of nothing", err, nomad.ErrNotFound)
	if meta.Index == 0 {
		t.Error("it says no index")
	}
	came := make(chan error, 1)
	go func() {
		for {
			_, m, err := cl.Variable(ctx, path, nomad.Query{Index: meta.Index})
			if !errors.Is(err, nomad.ErrNotFound) {
				came <- err
				return
			}
			meta = m
		}
	}()
	if _, err := cl.PutVariable(ctx, vari(path, map[string]string{"k": "v", "a.example /x priority 5": "team-a/web/job/x team-b/y/z"})); err != nil {
		t.Fatal(err)
	}
	is(t, "wait for it", <-came, nil)
}

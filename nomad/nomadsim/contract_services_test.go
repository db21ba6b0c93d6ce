package nomadsim_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/nomad"
)

func contractServices(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	a := app{namespace: "default", name: "svc-shop", tags: []string{"ingress.host=shop.test", "v1"}, count: 2}
	c.deploy(t, a)
	regs := instances(t, cl, a, 2, "v1")

	for _, r := range regs {
		if r.ID == "" || r.ServiceName != a.name || r.Namespace != "default" || r.NodeID == "" || r.Datacenter == "" ||
			r.JobID == "" || r.AllocID == "" || r.Address == "" || r.Port == 0 || r.CreateIndex == 0 || r.ModifyIndex < r.CreateIndex {
			t.Errorf("registration has an empty field: %+v", r)
		}
		if !slices.Equal(r.Tags, a.tags) {
			t.Errorf("tags %q; want %q in their order", r.Tags, a.tags)
		}
	}
	if regs[0].ID == regs[1].ID || regs[0].AllocID == regs[1].AllocID {
		t.Errorf("two instances share an ID: %+v", regs)
	}

	// The list is complete under the namespace's name and under all.
	for _, ns := range []string{"default", nomad.AllNamespaces, ""} {
		stubs, meta, err := cl.Services(ctx, nomad.Query{Namespace: ns})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(stubs, func(s nomad.ServiceStub) bool { return s.ServiceName == a.name })
		if i < 0 || stubs[i].Namespace != "default" || len(stubs[i].Tags) != 2 {
			t.Fatalf("list of %q: %+v; want %s with both tags", ns, stubs, a.name)
		}
		if meta.Index < regs[0].ModifyIndex || !meta.KnownLeader {
			t.Errorf("list of %q: meta %+v; want at least index %d and a leader", ns, meta, regs[0].ModifyIndex)
		}
	}
	if _, meta, err := cl.Services(ctx, nomad.Query{Stale: true}); err != nil || meta.Index == 0 || !meta.KnownLeader {
		t.Errorf("stale list: %+v, %v; want an index and a leader", meta, err)
	}

	// A missing service has an empty list, at a real index, and no error.
	for _, q := range []nomad.Query{{Namespace: "default"}, {Namespace: "no-such-namespace"}} {
		if got, meta, err := cl.Service(ctx, "no-such-service", q); err != nil || len(got) != 0 || meta.Index == 0 {
			t.Errorf("service that does not exist in %q: %v, %+v, %v; want none at an index", q.Namespace, got, meta, err)
		}
	}
	if got, meta, err := cl.Services(ctx, nomad.Query{Namespace: "no-such-namespace"}); err != nil || len(got) != 0 || meta.Index == 0 {
		t.Errorf("namespace that does not exist: %v, %+v, %v; want none at an index", got, meta, err)
	}

	// Other tags, same instances: the ID and the CreateIndex stay.
	b := a
	b.tags = []string{"v2"}
	c.deploy(t, b)
	for _, r := range instances(t, cl, b, 2, "v2") {
		i := slices.IndexFunc(regs, func(o nomad.Registration) bool { return o.ID == r.ID })
		if i < 0 || r.CreateIndex != regs[i].CreateIndex || r.ModifyIndex <= regs[i].ModifyIndex {
			t.Errorf("after a change of tags: %+v; want an ID of %+v, its CreateIndex and a later ModifyIndex", r, regs)
		}
	}

	c.stop(t, b)
	eventually(t, "service ends", func() (bool, any) {
		stubs, _, err := cl.Services(ctx, nomad.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(stubs, func(s nomad.ServiceStub) bool { return s.ServiceName == a.name }), stubs
	})
}

// contractBlockingForAny waits in a namespace that cannot exist: its list is empty, and the
// change of a service in any other ends the wait.
func contractBlockingForAny(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	q := nomad.Query{Namespace: "_nobody", Stale: true}
	stubs, meta, err := cl.Services(ctx, q)
	if err != nil || len(stubs) > 0 || meta.Index == 0 {
		t.Fatalf("the list has %+v, %+v, %v; want nothing, with the index of all services", stubs, meta, err)
	}
	q.Index = meta.Index
	ended := make(chan error, 1)
	go func() {
		stubs, after, err := cl.Services(ctx, q)
		if err == nil && (len(stubs) > 0 || after.Index <= meta.Index) {
			err = fmt.Errorf("the wait ended with %+v, %+v; want nothing, newer than %d", stubs, after, meta.Index)
		}
		ended <- err
	}()
	c.deploy(t, app{namespace: "default", name: "block-any", tags: []string{"v1"}, count: 1})
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func contractBlocking(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	a := app{namespace: "default", name: "block-a", tags: []string{"v1"}, count: 1}
	c.deploy(t, a)
	instances(t, cl, a, 1, "v1")

	// A blocking query without a change answers the same when it is over. Other
	// contracts change other services meanwhile, so the index may advance.
	_, meta, err := cl.Service(ctx, a.name, nomad.Query{})
	if err != nil {
		t.Fatal(err)
	}
	got, after, err := cl.Service(ctx, a.name, nomad.Query{Index: meta.Index, Wait: 50 * time.Millisecond})
	if err != nil || len(got) != 1 || after.Index < meta.Index {
		t.Fatalf("wait that ends by time: %v, %+v, %v; want the instance at %d or later", got, after, err, meta.Index)
	}

	// A past index answers at once.
	if _, old, err := cl.Service(ctx, a.name, nomad.Query{Index: 1}); err != nil || old.Index <= 1 {
		t.Fatalf("wait for the past: %+v, %v", old, err)
	}

	// A change of the service ends the wait, for readers of the service, of
	// its namespace and of all, stale or not.
	type answer struct {
		what string
		seen bool
		meta nomad.Meta
		err  error
	}
	answers := make(chan answer)
	list := func(what string, q nomad.Query) {
		for {
			stubs, m, err := cl.Services(ctx, q)
			seen := slices.ContainsFunc(stubs, func(s nomad.ServiceStub) bool {
				return s.ServiceName == a.name && slices.Contains(s.Tags, "v2")
			})
			if err == nil && !seen && m.Index >= q.Index {
				q.Index = m.Index // another contract's change
				continue
			}
			answers <- answer{what, seen, m, err}
			return
		}
	}
	_, meta, err = cl.Services(ctx, nomad.Query{})
	if err != nil {
		t.Fatal(err)
	}
	go list("namespace", nomad.Query{Index: meta.Index})
	go list("stale namespace", nomad.Query{Index: meta.Index, Stale: true})
	go list("all", nomad.Query{Index: meta.Index, Namespace: nomad.AllNamespaces})
	go func() {
		q := nomad.Query{Index: meta.Index}
		for {
			regs, m, err := cl.Service(ctx, a.name, q)
			seen := len(regs) == 1 && slices.Contains(regs[0].Tags, "v2")
			if err == nil && !seen {
				q.Index = m.Index
				continue
			}
			answers <- answer{"service", seen, m, err}
			return
		}
	}()
	a.tags = []string{"v2"}
	c.deploy(t, a)
	for range 4 {
		if got := <-answers; got.err != nil || !got.seen || got.meta.Index <= meta.Index {
			t.Errorf("wait of %s: %+v; want the change", got.what, got)
		}
	}
	c.stop(t, a)
}

func contractCanary(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	a := app{namespace: "default", name: "canary-a", tags: []string{"live"}, count: 1}
	c.deploy(t, a)
	old := instances(t, cl, a, 1, "live")[0]

	b := a
	b.canaryTags = []string{"candidate"}
	c.deploy(t, b)
	var canary nomad.Registration
	eventually(t, "a canary beside the old instance", func() (bool, any) {
		regs, _, err := cl.Service(ctx, a.name, nomad.Query{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range regs {
			if slices.Equal(r.Tags, b.canaryTags) {
				canary = r
			}
		}
		return len(regs) == 2 && canary.ID != "", regs
	})
	if canary.ID == old.ID {
		t.Errorf("the canary has the old instance's ID %q", old.ID)
	}
	c.promote(t, b)
	now := instances(t, cl, a, 1, "live")[0]
	if now.ID != canary.ID || now.CreateIndex != canary.CreateIndex {
		t.Errorf("after promotion %+v; want the canary's ID %q and CreateIndex %d", now, canary.ID, canary.CreateIndex)
	}
	c.stop(t, a)
}

func contractNamespaces(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	names, meta, err := cl.Namespaces(ctx, nomad.Query{})
	if err != nil || !slices.Contains(names, "default") || meta.Index == 0 {
		t.Fatalf("namespaces: %q, %+v, %v; want default", names, meta, err)
	}
	done := make(chan error, 1)
	go func() {
		q := nomad.Query{Index: meta.Index, Stale: true}
		for {
			names, m, err := cl.Namespaces(ctx, q)
			if err != nil || slices.Contains(names, "ns-new") {
				done <- err
				return
			}
			q.Index = m.Index
		}
	}()
	c.createNamespace(t, "ns-new")
	if err := <-done; err != nil {
		t.Errorf("wait for a new namespace: %v", err)
	}
	if leader, err := cl.Leader(ctx); err != nil || leader == "" {
		t.Errorf("leader: %q, %v", leader, err)
	}
}

// contractKillTimeout reads it of the task "sleep" in the group "group", which
// every app has, with a second.
func contractKillTimeout(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	c.createNamespace(t, "kill")
	a := app{namespace: "kill", name: "kill-a", count: 0}
	c.deploy(t, a)
	task := nomad.Task{Namespace: "kill", Job: a.name, Group: "group", Name: "sleep"}
	if got, err := cl.KillTimeout(ctx, task); err != nil || got != time.Second {
		t.Errorf("kill timeout: %v, %v; want 1s", got, err)
	}
	for what, change := range map[string]func(*nomad.Task){
		"task":      func(t *nomad.Task) { t.Name = "none" },
		"group":     func(t *nomad.Task) { t.Group = "none" },
		"job":       func(t *nomad.Task) { t.Job = "none" },
		"namespace": func(t *nomad.Task) { t.Namespace = "none" },
	} {
		other := task
		change(&other)
		_, err := cl.KillTimeout(ctx, other)
		is(t, "no such "+what, err, nomad.ErrNotFound)
	}
}

// contractBadRequests checks the texts and statuses that the simulator copies.
func contractBadRequests(t *testing.T, c cluster) {
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/v1/services?index=x", 400, "Invalid index"},
		{"GET", "/v1/services?wait=x", 400, "Invalid wait time"},
		{"GET", "/v1/services?stale=x", 400, "Expect `true` or `false` for `stale` query string parameter"},
		{"POST", "/v1/services", 405, "Invalid method"},
		{"GET", "/v1/service/", 400, "missing service name"},
		{"GET", "/v1/service/a/b/c", 400, "invalid URI"},
		{"GET", "/v1/event/stream?index=x", 400, `Unable to parse index: strconv.Atoi: parsing "x": invalid syntax`},
		{"GET", "/v1/services?region=nowhere", 500, "No path to region"},
		{"GET", "/v1/no-such-thing", 404, ""},
		{"GET", "/v1/services?namespace=none", 200, "[]"},
		{"GET", "/v1/service/none", 200, "[]"},
		{"GET", "/v1/job/none", 404, "job not found"},
		{"GET", "/v1/var/none", 404, "variable not found"},
		{"GET", "/v1/var/", 400, "missing variable path"},
		{"PUT", "/v1/var/x?lock-acquire&lock-renew", 400, "multiple lock operations"},
		{"PUT", "/v1/var/x?lock-acquire&cas=1", 400, "CAS can't be used with lock operations"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			var body io.Reader
			if tc.method != "GET" {
				body = strings.NewReader("{}")
			}
			req, err := http.NewRequestWithContext(testContext(t), tc.method, c.address()+tc.path, body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Nomad-Token", c.management())
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			got, _ := io.ReadAll(res.Body)
			if res.StatusCode != tc.status || string(got) != tc.body {
				t.Errorf("answered %d %q; want %d %q", res.StatusCode, got, tc.status, tc.body)
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

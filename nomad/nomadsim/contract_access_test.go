package nomadsim_test

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/nomad"
)

var readJob = []string{"read-job"}

// refusedStream fails the test unless the subscription is refused, in any of the ways
// of agents.
func refusedStream(t *testing.T, what string, cl *nomad.Client, namespace string) {
	t.Helper()
	s, err := cl.Stream(testContext(t), namespace, math.MaxInt64)
	if err == nil {
		s.Close()
		t.Errorf("stream of %s: it is up; want a refusal", what)
		return
	}
	if !errors.Is(err, nomad.ErrStreamRefused) && !errors.Is(err, nomad.ErrStreamSilent) && !errors.Is(err, nomad.ErrForbidden) {
		t.Errorf("stream of %s: %v; want a refusal", what, err)
	}
	t.Logf("stream of %s: %v", what, err)
}

func contractStrangers(t *testing.T, c guarded) {
	ctx := testContext(t)
	for what, secret := range map[string]string{
		"anonymous": "",
		"unknown":   "01234567-89ab-cdef-0123-456789abcdef",
		"garbage":   "garbage",
	} {
		t.Run(what, func(t *testing.T) {
			cl := client(t, c, secret)
			_, _, err := cl.Services(ctx, nomad.Query{})
			is(t, "list", err, nomad.ErrForbidden)
			_, _, err = cl.Services(ctx, nomad.Query{Namespace: nomad.AllNamespaces})
			is(t, "list of all", err, nomad.ErrForbidden)
			t.Logf("list of all: %v", err)
			_, _, err = cl.Service(ctx, "x", nomad.Query{})
			is(t, "read", err, nomad.ErrForbidden)
			_, err = cl.KillTimeout(ctx, nomad.Task{Job: "x"})
			is(t, "job", err, nomad.ErrForbidden)
			_, _, err = cl.Variable(ctx, "x", nomad.Query{})
			is(t, "variable", err, nomad.ErrForbidden)
			_, err = cl.PutVariable(ctx, vari("x", map[string]string{"k": "v"}))
			is(t, "write", err, nomad.ErrForbidden)
			is(t, "delete", cl.DeleteVariable(ctx, "default", "x"), nomad.ErrForbidden)
			is(t, "lock", cl.AcquireLock(ctx, nomad.Lock{Path: "x", ID: nomad.NewLockID()}, nil), nomad.ErrForbidden)
			refusedStream(t, what, cl, "default")
			if names, _, err := cl.Namespaces(ctx, nomad.Query{}); err == nil && len(names) > 0 {
				t.Errorf("namespaces: %q; want none", names)
			}
			if _, err := cl.Leader(ctx); err != nil {
				t.Errorf("leader: %v; want it without a token", err)
			}
			for _, path := range []string{"/v1/vars", "/v1/namespaces"} {
				got := status(t, c, secret, path)
				want := http.StatusOK
				if what != "anonymous" {
					want = http.StatusForbidden
				}
				if got != want {
					t.Errorf("%s answered %d; want %d", path, got, want)
				}
			}
		})
	}
}

// status is the status of a plain request's answer.
func status(t *testing.T, c cluster, secret, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, c.address()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("X-Nomad-Token", secret)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

func contractGuardedNamespaces(t *testing.T, c guarded) {
	ctx := testContext(t)
	c.createNamespace(t, "guard-a")
	c.createNamespace(t, "guard-b")
	root := client(t, c, c.management())
	for _, ns := range []string{"guard-a", "guard-b"} {
		a := app{namespace: ns, name: "guard-app", tags: []string{"v1"}, count: 1}
		c.deploy(t, a)
		instances(t, root, a, 1, "v1")
	}
	cl := client(t, c, c.token(t, rule{namespace: "guard-a", capabilities: readJob}))

	stubs, meta, err := cl.Services(ctx, nomad.Query{Namespace: nomad.AllNamespaces})
	if err != nil || len(stubs) != 1 || stubs[0].Namespace != "guard-a" || meta.Index == 0 {
		t.Errorf("list of all: %+v, %+v, %v; want that of guard-a", stubs, meta, err)
	}
	if regs, _, err := cl.Service(ctx, "guard-app", nomad.Query{Namespace: "guard-a"}); err != nil || len(regs) != 1 {
		t.Errorf("read: %+v, %v", regs, err)
	}
	_, _, err = cl.Services(ctx, nomad.Query{Namespace: "guard-b"})
	is(t, "list of guard-b", err, nomad.ErrForbidden)
	_, _, err = cl.Service(ctx, "guard-app", nomad.Query{Namespace: "guard-b"})
	is(t, "read in guard-b", err, nomad.ErrForbidden)
	if names, _, err := cl.Namespaces(ctx, nomad.Query{}); err != nil || !slices.Equal(names, []string{"guard-a"}) {
		t.Errorf("namespaces: %q, %v; want guard-a", names, err)
	}
	open(t, ctx, cl, "guard-a", math.MaxInt64).Close()
	refusedStream(t, "guard-b", cl, "guard-b")
	refusedStream(t, "all", cl, nomad.AllNamespaces)

	all := client(t, c, c.token(t, rule{namespace: "*", capabilities: readJob}))
	open(t, ctx, all, nomad.AllNamespaces, math.MaxInt64).Close()
	if err := all.CheckAccess(ctx, nomad.Access{Namespaces: []string{nomad.AllNamespaces}}); err != nil {
		t.Errorf("check of a token with read-job everywhere: %v", err)
	}
	err = cl.CheckAccess(ctx, nomad.Access{Namespaces: []string{"guard-a"}})
	is(t, "check of guard-a", err, nil)
	err = cl.CheckAccess(ctx, nomad.Access{Namespaces: []string{"guard-b"}, Job: "edge", JobNamespace: "infra"})
	is(t, "check of guard-b", err, nomad.ErrForbidden)
	for _, want := range []string{`namespace "guard-b" {`, `capabilities = ["read-job"]`, "nomad acl policy apply -namespace infra -job edge edge "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check of guard-b says\n%v\nwant %q in it", err, want)
		}
	}

	// A list of all without any permission is empty at index 0, and a blocking query on
	// it ends only by time.
	none := c.token(t, rule{namespace: "guard-a", capabilities: []string{"list-jobs"}})
	_, _, err = client(t, c, none).Services(ctx, nomad.Query{Namespace: nomad.AllNamespaces})
	is(t, "list of all without rights", err, nomad.ErrForbidden)
	_, _, err = client(t, c, none).Services(ctx, nomad.Query{Namespace: nomad.AllNamespaces, Index: 5, Wait: 50 * time.Millisecond})
	is(t, "wait on all without rights", err, nomad.ErrForbidden)
}

func contractWorkload(t *testing.T, c guarded) {
	ctx := testContext(t)
	c.createNamespace(t, "work-a")
	c.createNamespace(t, "work-b")
	a := app{namespace: "work-b", name: "work-app", tags: []string{"v1"}, count: 1}
	c.deploy(t, a)
	instances(t, client(t, c, c.management()), a, 1, "v1")
	cl := client(t, c, c.workload(t, "work-a"))

	// A namespace that is named needs no policy, even another one's.
	for _, ns := range []string{"work-a", "work-b", "no-such-namespace"} {
		if _, _, err := cl.Services(ctx, nomad.Query{Namespace: ns}); err != nil {
			t.Errorf("list of %s: %v", ns, err)
		}
	}
	if regs, _, err := cl.Service(ctx, "work-app", nomad.Query{Namespace: "work-b"}); err != nil || len(regs) != 1 {
		t.Errorf("read in work-b: %+v, %v", regs, err)
	}
	// All do, and so does any stream.
	_, _, err := cl.Services(ctx, nomad.Query{Namespace: nomad.AllNamespaces})
	is(t, "list of all", err, nomad.ErrForbidden)
	refusedStream(t, "its own namespace", cl, "work-a")
	refusedStream(t, "all", cl, nomad.AllNamespaces)
	err = cl.CheckAccess(ctx, nomad.Access{Namespaces: []string{"work-b"}, Variables: "serai", VariablesNamespace: "work-a"})
	var missing *nomad.AccessError
	if !errors.As(err, &missing) || len(missing.ListServices) != 0 || !slices.Equal(missing.WatchServices, []string{"work-b"}) ||
		!slices.Equal(missing.Variables, []string{"read", "write", "destroy"}) {
		t.Errorf("check: %+v; want the stream of work-b and the variables missing", err)
	}
	t.Logf("check: %v", err)
	if names, _, err := cl.Namespaces(ctx, nomad.Query{}); err != nil {
		t.Errorf("namespaces: %v", err)
	} else {
		t.Logf("a workload without a policy sees namespaces %q", names)
		if !slices.Equal(names, workloadSees) {
			t.Errorf("namespaces: %q; want %q", names, workloadSees)
		}
	}
}

// workloadSees is the list of namespaces for a workload without a policy.
var workloadSees = []string{}

func contractShadow(t *testing.T, c guarded) {
	ctx := testContext(t)
	c.createNamespace(t, "shadow-a")
	cl := client(t, c, c.token(t,
		rule{namespace: "*", capabilities: readJob},
		rule{namespace: "shadow-a", capabilities: []string{"list-jobs"}},
	))
	_, _, err := cl.Services(ctx, nomad.Query{Namespace: "shadow-a"})
	is(t, "list of the shadowed", err, nomad.ErrForbidden)
	if _, _, err := cl.Services(ctx, nomad.Query{Namespace: nomad.AllNamespaces}); err != nil {
		t.Errorf("list of all: %v; want the others", err)
	}
	refusedStream(t, "all with one shadowed", cl, nomad.AllNamespaces)
	err = cl.CheckAccess(ctx, nomad.Access{Namespaces: []string{nomad.AllNamespaces}})
	var missing *nomad.AccessError
	if !errors.As(err, &missing) || !slices.Equal(missing.WatchServices, []string{"shadow-a"}) {
		t.Errorf("check: %v; want shadow-a named", err)
	}
}

func contractTokenDeleted(t *testing.T, c guarded) {
	ctx := testContext(t)
	secret := c.token(t, rule{namespace: "default", capabilities: readJob})
	cl := client(t, c, secret)
	s := open(t, ctx, cl, "default", math.MaxInt64)
	c.deleteToken(t, secret)
	for {
		b, err := s.Next()
		if err != nil {
			is(t, "stream of a deleted token", err, nomad.ErrStreamEnded)
			break
		}
		t.Logf("still: %+v", b)
	}
	_, _, err := cl.Services(ctx, nomad.Query{})
	is(t, "list with a deleted token", err, nomad.ErrForbidden)
}

func contractGuardedVariables(t *testing.T, c guarded) {
	ctx := testContext(t)
	root := client(t, c, c.management())
	for _, p := range []string{"gv/mine/a", "gv/other/a"} {
		if _, err := root.PutVariable(ctx, vari(p, map[string]string{"k": "v"})); err != nil {
			t.Fatal(err)
		}
	}
	cl := client(t, c, c.token(t, rule{namespace: "default", variables: map[string][]string{
		"gv/mine/*":  {"read", "list", "write", "destroy"},
		"gv/blind/*": {"write"},
	}}))
	access := nomad.Access{Variables: "gv/mine"}
	is(t, "check", cl.CheckAccess(ctx, access), nil)
	if v, _, err := cl.Variable(ctx, "gv/mine/a", nomad.Query{}); err != nil || v.Items["k"] != "v" {
		t.Errorf("read: %+v, %v", v, err)
	}
	_, _, err := cl.Variable(ctx, "gv/mine/none", nomad.Query{})
	is(t, "read of nothing", err, nomad.ErrNotFound)
	for _, p := range []string{"gv/other/a", "gv/other/none"} {
		_, _, err = cl.Variable(ctx, p, nomad.Query{})
		is(t, "read of "+p, err, nomad.ErrForbidden)
		if errors.Is(err, nomad.ErrNotFound) {
			t.Error("a refusal looks like nothing")
		}
	}
	list, meta, err := cl.Variables(ctx, "gv/", nomad.Query{})
	if err != nil || len(list) != 1 || list[0].Path != "gv/mine/a" || meta.Index == 0 {
		t.Errorf("list: %+v, %+v, %v; want only its own", list, meta, err)
	}

	// A conflict shows nothing to a token that may not read.
	if _, err := cl.PutVariable(ctx, vari("gv/blind/a", map[string]string{"k": "secret"})); err != nil {
		t.Fatal(err)
	}
	there, err := cl.PutVariableIf(ctx, vari("gv/blind/a", map[string]string{"k": "x"}), 0)
	is(t, "blind conflict", err, nomad.ErrConflict)
	if there == nil || len(there.Items) != 0 || there.ModifyIndex == 0 {
		t.Errorf("blind conflict shows %+v; want an index and no items", there)
	}

	// The holder of a lock does not see its ID on reading; only management does.
	l := nomad.Lock{Path: "gv/mine/lock", ID: nomad.NewLockID(), TTL: time.Hour}
	is(t, "acquire", cl.AcquireLock(ctx, l, map[string]string{"k": "v"}), nil)
	if v, _, err := cl.Variable(ctx, l.Path, nomad.Query{}); err != nil || v.LockID != "" {
		t.Errorf("read of the locked: %+v, %v; want no ID", v, err)
	}
	is(t, "renew", cl.RenewLock(ctx, l), nil)
	is(t, "release", cl.ReleaseLock(ctx, l), nil)
}

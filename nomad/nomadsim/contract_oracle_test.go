package nomadsim_test

import (
	"errors"
	"maps"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"serai/nomad"
)

// ownClient is HashiCorp's client of c, the reference for reading answers.
func ownClient(t *testing.T, c cluster) *api.Client {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(hc.CloseIdleConnections)
	cl, err := api.NewClient(&api.Config{Address: c.address(), SecretID: c.management(), HttpClient: hc})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// contractOwnClient uses HashiCorp's client, so that the simulator satisfies more than
// our own reading of the API.
func contractOwnClient(t *testing.T, c cluster) {
	cl := ownClient(t, c)
	ctx := testContext(t)
	events, err := cl.EventStream().Stream(ctx, map[api.Topic][]string{api.TopicService: {"own-a"}}, 0, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	a := app{namespace: "default", name: "own-a", tags: []string{"v1"}, count: 1}
	c.deploy(t, a)
	ev := <-events
	if ev == nil || ev.Err != nil {
		t.Fatalf("event of a key: %+v", ev)
	}
	if reg, err := ev.Events[0].Service(); err != nil || reg.ServiceName != a.name {
		t.Fatalf("event of a key: %+v, %v; want %s", reg, err, a.name)
	}
	eventually(t, "list shows what the event said", func() (bool, any) {
		list, _, err := cl.Services().List(nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) > 0, list
	})
	eventually(t, "read shows what the event said", func() (bool, any) {
		regs, meta, err := cl.Services().Get(a.name, nil)
		if err != nil || meta.LastIndex == 0 {
			t.Fatal(meta, err)
		}
		return len(regs) == 1, regs
	})
	vars := cl.Variables()
	v := api.NewVariable("own/x")
	v.Items["k"] = "v"
	made, _, err := vars.CheckedCreate(v, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := vars.CheckedCreate(v, nil); err == nil || !strings.Contains(err.Error(), "cas conflict") {
		t.Errorf("create twice: %v; want a conflict", err)
	}
	made.Items["k"] = "w"
	if _, _, err := vars.CheckedUpdate(made, nil); err != nil {
		t.Error(err)
	}
	if got, _, err := vars.Read("own/x", nil); err != nil || got.Items["k"] != "w" {
		t.Errorf("read: %+v, %v", got, err)
	}
	locks, err := cl.Locks(api.WriteOptions{}, api.Variable{Path: "own/lock", Lock: &api.VariableLock{TTL: "1h", LockDelay: "1s"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locks.Acquire(ctx); err != nil {
		t.Errorf("acquire: %v", err)
	}
	if err := locks.Renew(ctx); err != nil {
		t.Errorf("renew: %v", err)
	}
	if err := locks.Release(ctx); err != nil {
		t.Errorf("release: %v", err)
	}
	c.stop(t, a)
}

// theirs converts a registration of HashiCorp's client into ours.
func theirs(r *api.ServiceRegistration) nomad.Registration {
	return nomad.Registration{ID: r.ID, ServiceName: r.ServiceName, Namespace: r.Namespace, NodeID: r.NodeID, Datacenter: r.Datacenter,
		JobID: r.JobID, AllocID: r.AllocID, Tags: r.Tags, Address: r.Address, Port: r.Port,
		CreateIndex: r.CreateIndex, ModifyIndex: r.ModifyIndex}
}

// same fails the test unless both clients read the same.
func same(t *testing.T, what string, ours, theirs any) {
	t.Helper()
	if !reflect.DeepEqual(ours, theirs) {
		t.Errorf("%s:\nwe read   %+v\nthey read %+v", what, ours, theirs)
	}
}

// contractSameReading reads every kind of answer with both clients. The namespace is
// used only by this contract, so nothing changes between the reads.
func contractSameReading(t *testing.T, c cluster) {
	ctx := testContext(t)
	we, they := client(t, c, c.management()), ownClient(t, c)
	const ns = "oracle"
	c.createNamespace(t, ns)
	q := (&api.QueryOptions{Namespace: ns}).WithContext(ctx)

	ourStream := open(t, ctx, we, ns, math.MaxInt64)
	a := app{namespace: ns, name: "oracle-a", tags: []string{"x", "y"}, count: 1}
	c.deploy(t, a)
	instances(t, we, a, 1, "y")
	var theirStream <-chan *api.Events
	var events []nomad.Event
	theirEvent := func() (e api.Event) {
		select {
		case batch := <-theirStream:
			if batch == nil || batch.Err != nil || len(batch.Events) != 1 {
				t.Fatalf("their stream: %+v; want one event", batch)
			}
			return batch.Events[0]
		case <-ctx.Done():
			t.Fatal("their stream is silent")
		}
		return e
	}
	for range 2 { // up and gone
		for len(events) == 0 {
			b, err := ourStream.Next()
			if err != nil {
				t.Fatal(err)
			}
			events = b.Events
		}
		if theirStream == nil {
			// From that event on, which the agent still has.
			var err error
			theirStream, err = they.EventStream().Stream(ctx, map[api.Topic][]string{api.TopicService: {"*"}}, events[0].Index, q)
			if err != nil {
				t.Fatal(err)
			}
		}
		ev := theirEvent()
		reg, err := ev.Service()
		if err != nil {
			t.Fatal(err)
		}
		same(t, "event", events[0].Index, ev.Index)
		same(t, "deletion", events[0].Deleted, ev.Type != "ServiceRegistration")
		// HashiCorp's event decoder reads no indexes of registrations.
		got, want := events[0].Registration, theirs(reg)
		got.CreateIndex, got.ModifyIndex, want.CreateIndex, want.ModifyIndex = 0, 0, 0, 0
		same(t, "registration of an event", got, want)
		if events[0].Deleted {
			break
		}
		events = nil

		// Lists, while it is there.
		stubs, meta, err := we.Services(ctx, nomad.Query{Namespace: ns})
		if err != nil {
			t.Fatal(err)
		}
		lists, theirMeta, err := they.Services().List(q)
		if err != nil || len(stubs) != 1 || len(lists) != 1 || len(lists[0].Services) != 1 {
			t.Fatalf("lists %+v, %+v, %v; want one service", stubs, lists, err)
		}
		slices.Sort(stubs[0].Tags) // the union of tags has no order
		slices.Sort(lists[0].Services[0].Tags)
		same(t, "list", stubs[0], nomad.ServiceStub{Namespace: lists[0].Namespace, ServiceName: lists[0].Services[0].ServiceName, Tags: lists[0].Services[0].Tags})
		if theirMeta.LastIndex < meta.Index || theirMeta.KnownLeader != meta.KnownLeader {
			t.Errorf("we read %+v, they read %+v after that", meta, theirMeta)
		}
		regs, _, err := we.Service(ctx, a.name, nomad.Query{Namespace: ns})
		if err != nil {
			t.Fatal(err)
		}
		theirRegs, _, err := they.Services().Get(a.name, q)
		if err != nil || len(regs) != 1 || len(theirRegs) != 1 {
			t.Fatalf("reads %+v, %+v, %v; want one instance", regs, theirRegs, err)
		}
		same(t, "read", regs[0], theirs(theirRegs[0]))
		c.stop(t, a)
	}
	none, _, err := we.Service(ctx, "none", nomad.Query{Namespace: ns})
	theirNone, _, theirErr := they.Services().Get("none", q)
	if err != nil || theirErr != nil || len(none) != 0 || len(theirNone) != 0 {
		t.Errorf("no service: %v, %v and %v, %v", none, err, theirNone, theirErr)
	}
	names, _, err := we.Namespaces(ctx, nomad.Query{})
	if err != nil {
		t.Fatal(err)
	}
	theirNames, _, err := they.Namespaces().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	// Other contracts create namespaces meanwhile, and delete none.
	for _, n := range names {
		if !slices.ContainsFunc(theirNames, func(o *api.Namespace) bool { return o.Name == n }) {
			t.Errorf("namespace %q: they do not read it", n)
		}
	}
}

// contractSharedVariables uses both clients on the same variables.
func contractSharedVariables(t *testing.T, c cluster) {
	ctx := testContext(t)
	we, they := client(t, c, c.management()), ownClient(t, c)
	vars := they.Variables()
	made, _, err := vars.CheckedCreate(&api.Variable{Path: "oracle/a", Items: api.VariableItems{"k": "1", "l": ""}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := we.Variable(ctx, "oracle/a", nomad.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if got.ModifyIndex != made.ModifyIndex || got.CreateIndex != made.CreateIndex || got.Created.UnixNano() != made.CreateTime ||
		got.Modified.UnixNano() != made.ModifyTime || got.Path != made.Path || got.Namespace != made.Namespace || !maps.Equal(got.Items, made.Items) {
		t.Errorf("we read %+v of what they wrote: %+v", got, made)
	}
	got.Items["k"] = "2"
	next, err := we.PutVariableIf(ctx, *got, got.ModifyIndex)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = vars.CheckedUpdate(made, nil)
	var conflict api.ErrCASConflict
	if !errors.As(err, &conflict) || conflict.Conflict.ModifyIndex != next.ModifyIndex || conflict.Conflict.Items["k"] != "2" {
		t.Errorf("their late write: %v; want a conflict with our version %d", err, next.ModifyIndex)
	}
	list, _, err := vars.PrefixList("oracle/a", nil)
	if err != nil || len(list) != 1 || list[0].ModifyIndex != next.ModifyIndex {
		t.Errorf("they list %+v, %v; want our version %d", list, err, next.ModifyIndex)
	}
	if _, err := vars.CheckedDelete("oracle/a", made.ModifyIndex, nil); !errors.As(err, &conflict) {
		t.Errorf("their late deletion: %v; want a conflict", err)
	}
	if _, err := vars.CheckedDelete("oracle/a", next.ModifyIndex, nil); err != nil {
		t.Errorf("their deletion: %v", err)
	}
	_, _, err = we.Variable(ctx, "oracle/a", nomad.Query{})
	is(t, "our read after their deletion", err, nomad.ErrNotFound)
	if _, _, err := vars.Read("oracle/a", nil); !errors.Is(err, api.ErrVariablePathNotFound) {
		t.Errorf("their read after their deletion: %v", err)
	}

	// Locks: one client holds it, the other one gets a conflict.
	locks, err := they.Locks(api.WriteOptions{}, api.Variable{Path: "oracle/lock", Lock: &api.VariableLock{TTL: "1h", LockDelay: "1ms"}})
	if err != nil {
		t.Fatal(err)
	}
	mine := nomad.Lock{Path: "oracle/lock", ID: nomad.NewLockID(), TTL: time.Hour, Delay: time.Millisecond}
	if _, err := locks.Acquire(ctx); err != nil {
		t.Fatal(err)
	}
	is(t, "our acquire of theirs", we.AcquireLock(ctx, mine, nil), nomad.ErrConflict)
	if err := locks.Renew(ctx); err != nil {
		t.Errorf("their renewal: %v", err)
	}
	if err := locks.Release(ctx); err != nil {
		t.Errorf("their release: %v", err)
	}
	is(t, "our acquire", we.AcquireLock(ctx, mine, nil), nil)
	if _, err := locks.Acquire(ctx); !errors.Is(err, api.ErrLockConflict) {
		t.Errorf("their acquire of ours: %v; want a conflict", err)
	}
	is(t, "our release", we.ReleaseLock(ctx, mine), nil)
	if _, err := locks.Acquire(ctx); err != nil {
		t.Errorf("their acquire after our release: %v", err)
	}
	if err := locks.Release(ctx); err != nil {
		t.Errorf("their release: %v", err)
	}
}

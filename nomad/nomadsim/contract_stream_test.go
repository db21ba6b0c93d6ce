package nomadsim_test

import (
	"context"
	"math"
	"reflect"
	"testing"

	"serai/nomad"
)

// open subscribes and reads the first line, which is a heartbeat.
func open(t *testing.T, ctx context.Context, cl *nomad.Client, namespace string, index uint64) *nomad.Stream {
	t.Helper()
	s, err := cl.Stream(ctx, namespace, index)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	first, err := s.Next()
	if err != nil || !first.Heartbeat() {
		t.Fatalf("first line of a stream: %+v, %v; want a heartbeat", first, err)
	}
	return s
}

// await reads until an event of the service comes, and checks that indexes
// never go back.
func await(t *testing.T, s *nomad.Stream, service string, deleted bool) nomad.Event {
	t.Helper()
	var last uint64
	for {
		b, err := s.Next()
		if err != nil {
			t.Fatalf("wait for an event of %s: %v", service, err)
		}
		if b.Heartbeat() {
			continue
		}
		if b.Index < last {
			t.Errorf("batch %d after %d", b.Index, last)
		}
		last = b.Index
		for _, e := range b.Events {
			if e.Index != b.Index {
				t.Errorf("event %d in batch %d", e.Index, b.Index)
			}
			if e.Registration.ServiceName == service && e.Deleted == deleted {
				return e
			}
		}
	}
}

func contractStream(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	s := open(t, ctx, cl, "default", math.MaxInt64)

	a := app{namespace: "default", name: "stream-a", tags: []string{"v1"}, count: 1}
	c.deploy(t, a)
	up := await(t, s, a.name, false)

	// Lists may have an older index for a moment, but then they agree.
	var regs []nomad.Registration
	eventually(t, "list reaches the event's index", func() (bool, any) {
		var meta nomad.Meta
		var err error
		regs, meta, err = cl.Service(ctx, a.name, nomad.Query{Stale: true})
		if err != nil {
			t.Fatal(err)
		}
		return meta.Index >= up.Index, meta
	})
	if len(regs) != 1 || !reflect.DeepEqual(regs[0], up.Registration) || regs[0].ModifyIndex != up.Index {
		t.Errorf("event %+v, list %+v; want the same registration, modified at the event", up, regs)
	}

	a.tags = []string{"v2"}
	c.deploy(t, a)
	changed := await(t, s, a.name, false)
	if r := changed.Registration; r.ID != up.Registration.ID || r.Tags[0] != "v2" || r.CreateIndex != up.Registration.CreateIndex {
		t.Errorf("change of tags: %+v; want the same instance with v2", changed)
	}

	c.stop(t, a)
	gone := await(t, s, a.name, true)
	if gone.Registration.ID != up.Registration.ID || gone.Index <= changed.Index {
		t.Errorf("end: %+v; want the instance, after %d", gone, changed.Index)
	}
	if !reflect.DeepEqual(gone.Registration, changed.Registration) {
		t.Errorf("end carries %+v; want the last registration %+v", gone.Registration, changed.Registration)
	}
	eventually(t, "list empties", func() (bool, any) {
		regs, meta, err := cl.Service(ctx, a.name, nomad.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return len(regs) == 0 && meta.Index >= gone.Index, meta
	})
}

func contractHistory(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	a := app{namespace: "default", name: "history-a", tags: []string{"v1"}, count: 1}
	live := open(t, ctx, cl, "default", math.MaxInt64)
	c.deploy(t, a)
	up := await(t, live, a.name, false)

	// The requested index is included; 0 and 1 begin with the oldest.
	for _, index := range []uint64{up.Index, up.Index - 1, 1, 0} {
		s := open(t, ctx, cl, "default", index)
		if again := await(t, s, a.name, false); again.Index != up.Index {
			t.Errorf("stream from %d: the event is at %d; want %d", index, again.Index, up.Index)
		} else if !reflect.DeepEqual(again, up) {
			t.Errorf("stream from %d: the event is %+v; want what it was: %+v", index, again, up)
		}
		s.Close()
	}
	c.stop(t, a)
	await(t, live, a.name, true)
}

func contractStreamNamespaces(t *testing.T, c cluster) {
	cl := client(t, c, c.management())
	ctx := testContext(t)
	c.createNamespace(t, "stream-one")
	all := open(t, ctx, cl, nomad.AllNamespaces, math.MaxInt64)
	one := open(t, ctx, cl, "stream-one", math.MaxInt64)
	c.createNamespace(t, "stream-late")
	late := open(t, ctx, cl, "stream-late", math.MaxInt64)

	// In order: the late namespace, then the early one. The stream of all
	// began before the late one was made and never shows it.
	b := app{namespace: "stream-late", name: "nsapp-late", tags: []string{"x"}, count: 1}
	c.deploy(t, b)
	await(t, late, b.name, false)
	a := app{namespace: "stream-one", name: "nsapp-one", tags: []string{"x"}, count: 1}
	c.deploy(t, a)
	for {
		batch, err := all.Next()
		if err != nil {
			t.Fatal(err)
		}
		seen := false
		for _, e := range batch.Events {
			switch e.Registration.Namespace {
			case "stream-late":
				t.Errorf("a stream of all shows a namespace that is younger: %+v", e)
			case "stream-one":
				seen = true
			}
		}
		if seen {
			break
		}
	}
	if e := await(t, one, a.name, false); e.Registration.Namespace != "stream-one" {
		t.Errorf("stream of a namespace: %+v", e)
	}
	// A new subscription sees both.
	again := open(t, ctx, cl, nomad.AllNamespaces, 1)
	await(t, again, b.name, false)
	c.stop(t, a)
	c.stop(t, b)
}

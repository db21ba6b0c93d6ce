package nomadsim_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// What a real agent cannot be made to do at will is tested only on the simulator. Where
// Nomad's source is the reference, it is named.

// simulator is s under test, as a cluster.
func simulator(t *testing.T, o nomadsim.Options) (*nomadsim.Sim, *nomad.Client) {
	t.Helper()
	c := newSimCluster(t, o)
	return c.sim, client(t, c, c.management())
}

func instance(service string, n int) nomad.Registration {
	return nomad.Registration{ServiceName: service, ID: fmt.Sprint(service, "-", n), AllocID: fmt.Sprint("alloc-", service, "-", n),
		Address: "127.0.0.1", Port: 20000 + n}
}

// indexes reads n batches, without heartbeats.
func indexes(t *testing.T, s *nomad.Stream, n int) []uint64 {
	t.Helper()
	var all []uint64
	for len(all) < n {
		b, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !b.Heartbeat() {
			all = append(all, b.Index)
		}
	}
	return all
}

// TestBuffer is bounded, and a subscription from before it begins with the oldest that
// is left, without a notice. Changes of all topics use places. Source:
// nomad/stream/event_buffer.go; the size does not count the oldest.
func TestBuffer(t *testing.T) {
	sim, cl := simulator(t, nomadsim.Options{Buffer: 4})
	var made []uint64
	for i := range 10 {
		made = append(made, sim.Register(instance("a", i)))
	}
	for _, from := range []uint64{0, 1, made[0], made[4]} {
		s := open(t, testContext(t), cl, "default", from)
		if got := indexes(t, s, 5); !slices.Equal(got, made[5:]) {
			t.Errorf("from %d: %d; want the last %d", from, got, made[5:])
		}
		s.Close()
	}
	s := open(t, testContext(t), cl, "default", made[8])
	if got := indexes(t, s, 2); !slices.Equal(got, made[8:]) {
		t.Errorf("from %d: %d; want %d", made[8], got, made[8:])
	}
	sim.Noise(3)
	again := open(t, testContext(t), cl, "default", 1)
	if got := indexes(t, again, 2); !slices.Equal(got, made[8:]) {
		t.Errorf("after noise: %d; want %d", got, made[8:])
	}
	// The running stream has not missed any.
	last := sim.Register(instance("a", 11))
	if got := indexes(t, s, 1); got[0] != last {
		t.Errorf("got %d; want %d", got, last)
	}
}

// TestSlowReader: a reader that cannot keep up with the buffer is cut off, and does not
// get a gap.
func TestSlowReader(t *testing.T) {
	sim, cl := simulator(t, nomadsim.Options{Buffer: 4})
	s := open(t, testContext(t), cl, "default", 1)
	big := instance("a", 1)
	big.Tags = []string{strings.Repeat("x", 1<<20)}
	var made []uint64
	for range 64 { // more than fits into sockets
		made = append(made, sim.Register(big))
	}
	for i := 0; ; i++ {
		b, err := s.Next()
		if err != nil {
			is(t, "slow reader", err, nomad.ErrStreamEnded)
			break
		}
		if b.Index != made[i] {
			t.Fatalf("batch %d; want %d, or an end", b.Index, made[i])
		}
	}
}

// TestPublishBeforeCommit: an event's reader may find the list older than the
// event, and a wait for the event's index ends once the list has it.
// Source: nomad/state/events.go publishes inside the transaction.
func TestPublishBeforeCommit(t *testing.T) {
	sim, cl := simulator(t, nomadsim.Options{CommitDelay: time.Hour})
	ctx := testContext(t)
	s := open(t, ctx, cl, "default", math.MaxInt64)
	for _, tc := range []struct {
		change        func()
		before, after int
	}{
		{func() { sim.Register(instance("a", 1)) }, 0, 1},
		{func() { sim.StopAlloc("alloc-a-1") }, 1, 0},
	} {
		tc.change()
		event := indexes(t, s, 1)[0]
		regs, meta, err := cl.Service(ctx, "a", nomad.Query{})
		if err != nil || meta.Index >= event || len(regs) != tc.before {
			t.Errorf("before the commit: %+v, %+v, %v; want %d instances at less than %d", regs, meta, err, tc.before, event)
		}
		type answer struct {
			n     int
			index uint64
			err   error
		}
		waited := make(chan answer, 1)
		go func() {
			regs, meta, err := cl.Service(ctx, "a", nomad.Query{Index: event - 1})
			waited <- answer{len(regs), meta.Index, err}
		}()
		eventually(t, "a wait", func() (bool, any) { n := sim.Counts(); return n.Blocked == 1, n })
		sim.Advance(time.Hour)
		if got := <-waited; got.err != nil || got.n != tc.after || got.index != event {
			t.Errorf("wait for the commit: %+v; want %d instances at %d", got, tc.after, event)
		}
	}
}

// TestSaveBeforeCommit: a state that is saved between a change's event and its commit
// has the change and its index.
func TestSaveBeforeCommit(t *testing.T) {
	for name, change := range map[string]func(*nomadsim.Sim) uint64{
		"an instance comes": func(s *nomadsim.Sim) uint64 { return s.Register(instance("a", 2)) },
		"an instance ends":  func(s *nomadsim.Sim) uint64 { return s.StopAlloc("alloc-a-1") },
	} {
		sim, cl := simulator(t, nomadsim.Options{CommitDelay: time.Hour})
		sim.Register(instance("a", 1))
		sim.Advance(time.Hour)
		at := change(sim)
		sim.Restore(sim.Save(), false)
		if _, meta, err := cl.Services(testContext(t), nomad.Query{}); err != nil || meta.Index != at {
			t.Errorf("%s: the list has the index %d, %v; want %d", name, meta.Index, err, at)
		}
	}
}

// TestDeathsAreTyped: deletions have the type of the change that removed the instances.
// Source: nomad/state/events.go.
func TestDeathsAreTyped(t *testing.T) {
	c := newSimCluster(t, nomadsim.Options{})
	for i := range 4 {
		r := instance("a", i)
		r.NodeID = fmt.Sprint("node-", i)
		c.sim.Register(r)
	}
	first := c.sim.Index() + 1
	c.sim.Deregister("default", "a-0")
	c.sim.StopAlloc("alloc-a-1")
	c.sim.StopNode("node-2")
	c.sim.Promote("default", "a-3", []string{"live"})
	if c.sim.StopAlloc("none") != 0 || c.sim.StopNode("none") != 0 || c.sim.Deregister("default", "none") != 0 {
		t.Error("the death of what is not there is a change")
	}
	events, err := ownClient(t, c).EventStream().Stream(testContext(t), nil, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ kind, id string }{
		{"ServiceDeregistration", "a-0"}, {"AllocationUpdated", "a-1"}, {"PlanResult", "a-2"}, {"ServiceRegistration", "a-3"},
	} {
		b := <-events
		if b == nil || b.Err != nil || len(b.Events) != 1 || b.Events[0].Type != want.kind || b.Events[0].Key != want.id {
			t.Errorf("got %+v; want %+v", b, want)
		}
	}
}

// TestLeaderless: without a leader stale answers go on and say so, and all others fail.
func TestLeaderless(t *testing.T) {
	sim, cl := simulator(t, nomadsim.Options{})
	ctx := testContext(t)
	sim.Register(instance("a", 1))
	sim.SetLeader(false)
	_, _, err := cl.Services(ctx, nomad.Query{})
	is(t, "list", err, nomad.ErrUnavailable)
	_, err = cl.PutVariable(ctx, vari("x", map[string]string{"k": "v"}))
	is(t, "write", err, nomad.ErrUnavailable)
	is(t, "delete", cl.DeleteVariable(ctx, "default", "x"), nomad.ErrUnavailable)
	is(t, "lock", cl.AcquireLock(ctx, nomad.Lock{Path: "x", ID: nomad.NewLockID()}, nil), nomad.ErrUnavailable)
	stubs, meta, err := cl.Services(ctx, nomad.Query{Stale: true})
	if err != nil || len(stubs) != 1 || meta.KnownLeader {
		t.Errorf("stale list: %+v, %+v, %v; want the service and no leader", stubs, meta, err)
	}
	sim.SetLeader(true)
	if _, meta, err := cl.Services(ctx, nomad.Query{Stale: true}); err != nil || !meta.KnownLeader {
		t.Errorf("after the election: %+v, %v", meta, err)
	}
}

// TestRestart: the agent's state outlives it, its streams and blocking queries do not.
func TestRestart(t *testing.T) {
	sim := nomadsim.New(nomadsim.Options{})
	sim.Register(instance("a", 1))
	first := serve(t, sim)
	cl, err := nomad.NewClient(nomad.Options{Address: first})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.CloseIdleConnections()
	s := open(t, testContext(t), cl, "default", math.MaxInt64)
	waited := make(chan error, 1)
	go func() {
		_, _, err := cl.Services(testContext(t), nomad.Query{Index: sim.Index()})
		waited <- err
	}()
	eventually(t, "a wait and a stream", func() (bool, any) {
		n := sim.Counts()
		return n.Blocked == 1 && n.Streams == 1, n
	})
	sim.Disconnect()
	is(t, "wait", <-waited, nomad.ErrUnreachable)
	for err = nil; err == nil; { // a stream begins with the newest batch
		_, err = s.Next()
	}
	is(t, "stream", err, nomad.ErrStreamEnded)
	eventually(t, "they end at the agent too", func() (bool, any) {
		n := sim.Counts()
		return n.Blocked == 0 && n.Streams == 0, n
	})
	c := &simCluster{sim: sim, url: serve(t, sim)}
	if regs, _, err := client(t, c, "").Service(testContext(t), "a", nomad.Query{}); err != nil || len(regs) != 1 {
		t.Errorf("after the restart: %+v, %v", regs, err)
	}
}

// TestRunEnds with its context, whatever is in flight.
func TestRunEnds(t *testing.T) {
	sim := nomadsim.New(nomadsim.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	url, done := start(t, ctx, sim)
	cl, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.CloseIdleConnections()
	s := open(t, testContext(t), cl, "default", 1)
	sim.Partition(true)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	_, err = s.Next()
	is(t, "stream", err, nomad.ErrStreamEnded)
}

// TestFaultsAreCounted: each request counts once, under its kind, whether it
// meets a fault or not; and a fault of n times ends.
func TestFaultsAreCounted(t *testing.T) {
	sim, cl := simulator(t, nomadsim.Options{})
	ctx := testContext(t)
	remove := sim.Inject(nomad.KindServices, nomadsim.Times(2, nomadsim.NoLeader()))
	for i := range 4 {
		_, _, err := cl.Services(ctx, nomad.Query{})
		var want error
		if i < 2 {
			want = nomad.ErrUnavailable
		}
		is(t, fmt.Sprint("request ", i), err, want)
	}
	remove()
	all := sim.Inject("", nomadsim.Forbidden())
	_, _, err := cl.Service(ctx, "a", nomad.Query{})
	is(t, "read", err, nomad.ErrForbidden)
	last := sim.Inject(nomad.KindService, nomadsim.Empty(9))
	if _, meta, err := cl.Service(ctx, "a", nomad.Query{}); err != nil || meta.Index != 9 {
		t.Errorf("the last fault does not count: %+v, %v", meta, err)
	}
	last()
	all()
	is(t, "lock", cl.AcquireLock(ctx, nomad.Lock{Path: "x", ID: nomad.NewLockID()}, nil), nil)
	open(t, ctx, cl, "default", 1)
	got := sim.Counts().Requests
	for kind, want := range map[string]int{nomad.KindServices: 4, nomad.KindService: 2, nomad.KindLock: 1, nomad.KindStream: 1, nomad.KindVariable: 0} {
		if got[kind] != want {
			t.Errorf("%d requests of kind %s; want %d", got[kind], kind, want)
		}
	}
}

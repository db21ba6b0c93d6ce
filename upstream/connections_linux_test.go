package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"serai/upstream"
)

// TestConnectionsAreBounded uses up the connections to all instances: idle ones make
// room, used ones do not, and no instance is blamed.
func TestConnectionsAreBounded(t *testing.T) {
	const most, forRequests = 16, 14
	r := run(t, upstream.RegistryOptions{MaxConns: most, IdleTimeout: time.Hour})
	members := []*upstream.Endpoint{nil, nil}
	for i := range members {
		members[i] = r.Acquire(upstream.Target{Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: string(rune('a' + i))})
		defer r.Release(members[i])
		await(t, "ready", func() bool { return members[i].State() == upstream.Ready })
	}
	busy, idle := members[0], members[1]
	dial := func(e *upstream.Endpoint) (net.Conn, error) {
		c, _, err := e.Dial(context.Background(), netip.AddrPort{}, "", nil)
		return c, err
	}
	var open []net.Conn
	for range forRequests - 2 { // each endpoint has the connection of its probe
		c, err := dial(idle)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	for _, c := range open {
		idle.Transport().Keep(c)
	}
	open = nil
	for range forRequests {
		c, err := dial(busy)
		if err != nil {
			t.Fatalf("after %d connections: %v, though others are idle", len(open), err)
		}
		open = append(open, c)
	}
	time.Sleep(time.Millisecond)
	if _, err := dial(idle); !errors.Is(err, upstream.ErrNoDescriptor) {
		t.Fatalf("with all connections in use another one: %v, want %v", err, upstream.ErrNoDescriptor)
	}
	if s := idle.State(); s != upstream.Ready {
		t.Errorf("an instance is %v because there was no descriptor", s)
	}
	// Some are only for probes.
	late := r.Acquire(upstream.Target{Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: "late"})
	defer r.Release(late)
	await(t, "readiness beside connections in use", func() bool { return late.State() == upstream.Ready })
	if s := r.Connections(); s.Open > most || s.Refused == 0 {
		t.Errorf("%+v, want %d open at most, and some refused", s, most)
	}
	for _, c := range open {
		c.Close()
		c.Close()
	}
	c, err := dial(idle)
	if err != nil {
		t.Fatalf("after all were closed: %v", err)
	}
	c.Close()
	await(t, "few connections", func() bool { return r.Connections().Open <= 3 })
}

// TestAShortTimeProvesNothing: a connect of a request that had little time left does
// not take the instance out of rotation; the prober finds out.
func TestAShortTimeProvesNothing(t *testing.T) {
	r := run(t, upstream.RegistryOptions{ConnectTimeout: 2 * time.Second})
	e := r.Acquire(upstream.Target{Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: "a"})
	defer r.Release(e)
	await(t, "ready", func() bool { return e.State() == upstream.Ready })
	before := r.Probes().Begun
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	if _, _, err := e.Dial(ctx, netip.AddrPort{}, "", nil); !errors.Is(err, upstream.ErrConnect) {
		t.Fatalf("a connect without time: %v, want %v", err, upstream.ErrConnect)
	}
	if s := e.Status(); s.State != upstream.Ready || s.Problem == "" {
		t.Errorf("state %v, problem %q", s.State, s.Problem)
	}
	await(t, "a probe", func() bool { return r.Probes().Begun > before })
	if s := e.State(); s != upstream.Ready {
		t.Errorf("state %v after the probe", s)
	}

	gone := r.Acquire(upstream.Target{Address: silent(t), Instance: "b"})
	defer r.Release(gone)
	upstream.SetReady(gone)
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := gone.Dial(ctx, netip.AddrPort{}, "", nil); err == nil {
		t.Fatal("connected to a silent address")
	}
	await(t, "the prober's verdict", func() bool { return gone.State() == upstream.Probing })
}

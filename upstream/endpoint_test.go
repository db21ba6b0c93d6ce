package upstream_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"serai/upstream"
)

func TestUnreachableEndpointComesBack(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	address := free(t)
	e := r.Acquire(upstream.Target{Address: address, Instance: "a"})
	defer r.Release(e)
	await(t, "cause", func() bool { return e.Status().Cause != "" })
	l := listen(t, address)
	await(t, "ready", func() bool { return e.State() == upstream.Ready })
	l.Close()
	_, _, err := e.Dial(context.Background(), netip.AddrPort{}, "", nil)
	if err == nil {
		t.Fatal("dialled a closed port")
	}
	e.Unreachable(err)
	if e.State() != upstream.Probing {
		t.Fatalf("state %v after a failed connect, want probing", e.State())
	}
	listen(t, address)
	await(t, "ready again", func() bool { return e.State() == upstream.Ready })
}

func TestSharedAndReleased(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	target := upstream.Target{Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: "a"}
	e := r.Acquire(target)
	if r.Acquire(target) != e {
		t.Fatal("one target, two endpoints")
	}
	other := target
	other.Instance = "b"
	next := r.Acquire(other)
	if next == e {
		t.Fatal("a new instance on an old address was taken for the old one")
	}
	r.Release(next)
	await(t, "ready", func() bool { return e.State() == upstream.Ready })
	r.Release(e)
	if e.State() != upstream.Ready {
		t.Fatal("left while it is still held")
	}
	c, _, err := e.Dial(context.Background(), netip.AddrPort{}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Release(e)
	if e.State() != upstream.Leaving {
		t.Fatal("still takes requests when nobody holds it")
	}
	e.Transport().Keep(c)
	if e.Status().Idle != 0 {
		t.Error("kept a connection to an endpoint that left")
	}
	if n := len(r.All()); n != 0 {
		t.Errorf("%d endpoints left", n)
	}
}

func TestCheckGatesReadiness(t *testing.T) {
	var healthy atomic.Bool
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" || !healthy.Load() {
			w.WriteHeader(503)
		}
	}))
	defer origin.Close()
	r := run(t, upstream.RegistryOptions{})
	e := r.Acquire(upstream.Target{Address: origin.Listener.Addr().String(), Instance: "a",
		Check: upstream.Check{Path: "/health", Interval: 5 * time.Millisecond, Timeout: long, StatusMin: 200, StatusMax: 399}})
	defer r.Release(e)
	await(t, "cause", func() bool { return e.Status().Cause != "" })
	if e.State() == upstream.Ready {
		t.Fatal("ready though its check fails")
	}
	healthy.Store(true)
	await(t, "ready", func() bool { return e.State() == upstream.Ready })
	healthy.Store(false)
	await(t, "not ready", func() bool { return e.State() == upstream.Probing })
}

func TestProxyProtocolToInstance(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := netip.MustParseAddrPort("192.0.2.7:4711")
	for _, version := range []uint8{1, 2} {
		r := upstream.NewRegistry(upstream.RegistryOptions{})
		e := r.Acquire(upstream.Target{Address: l.Addr().String(), ProxyProtocol: version})
		c, _, err := e.Dial(context.Background(), client, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		h, err := proxyproto.Read(bufio.NewReader(server))
		if err != nil {
			t.Fatal(err)
		}
		if h.SourceAddr.String() != client.String() || h.Version != version {
			t.Errorf("version %d: header says version %d and client %s, want %s", version, h.Version, h.SourceAddr, client)
		}
		c.Close()
		server.Close()
	}
}

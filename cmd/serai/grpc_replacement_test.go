package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/grpc"

	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
)

// replaced are instances of which one after the other is replaced, in a Nomad.
type replaced struct {
	t    *testing.T
	sim  *nomadsim.Sim
	made int
	now  []*grpcInstance
}

func (r *replaced) add(tags ...string) {
	r.made++
	i := newGRPCInstance(r.t, fmt.Sprintf("i%d", r.made))
	r.sim.Register(i.registration(tags...))
	r.now = append(r.now, i)
}

// TestGRPCRollingReplacement: no call fails while instances are replaced, which end as
// those of grpc-go do when they are told to; nor when serai has a few connections only to
// learn of it.
func TestGRPCRollingReplacement(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	r := &replaced{t: t, sim: sim}
	for range 3 {
		r.add("ingress.scheme=grpc")
	}
	n := newIngress(t, url)
	callAll(t, n.traffic, func(some func()) {
		for range 12 {
			r.add("ingress.scheme=grpc")
			oldest := r.now[0]
			r.now = r.now[1:]
			sim.Deregister(nomad.DefaultNamespace, oldest.registration().ID)
			oldest.server.GracefulStop()
			some()
		}
	})
}

// callAll makes calls all the time while replace runs, which waits for some of them between
// what it does. None may fail, also of those whose message comes later than their head.
func callAll(t *testing.T, address string, replace func(some func())) {
	t.Helper()
	clients := []*grpc.ClientConn{dialGRPC(t, address, grpcHost), dialGRPC(t, address, grpcHost)}
	ctx := t.Context() // however long all of it takes
	until(t, "the instances", func() bool { _, err := who(ctx, clients[0]); return err == nil })
	var calls, failed atomic.Int64
	var running sync.WaitGroup
	stop := make(chan struct{})
	for k := range 8 {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				calls.Add(1)
				size := 0
				if k%4 == 0 { // it comes in several frames
					size = 40_000
				}
				var m message
				if err := clients[k%2].Invoke(ctx, "/own/Who", &message{Value: make([]byte, size)}, &m); err != nil {
					failed.Add(1)
					t.Errorf("a call with %d bytes failed: %v", size, err)
				}
			}
		})
	}
	replace(func() {
		before := calls.Load()
		until(t, "some calls", func() bool { return calls.Load() > before+100 || failed.Load() > 0 })
	})
	close(stop)
	running.Wait()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
}

// TestGRPCRollingReplacementOfNetHTTP does so with instances that end as net/http's server does
// when it is shut down: a call that comes after its one GOAWAY is not begun.
func TestGRPCRollingReplacementOfNetHTTP(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	type inst struct {
		s   *http.Server
		reg nomad.Registration
	}
	var now []inst
	made := 0
	add := func() {
		made++
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Protocols: new(http.Protocols), Handler: connect.NewUnaryHandler("/own/Who", func(_ context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			return connect.NewResponse(&message{Value: []byte("x")}), nil
		})}
		s.Protocols.SetUnencryptedHTTP2(true)
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		reg := nomad.Registration{ID: fmt.Sprintf("i%d", made), ServiceName: "grpc", Namespace: "default", AllocID: fmt.Sprint(made), JobID: "grpc", Address: "127.0.0.1",
			Port: l.Addr().(*net.TCPAddr).Port, Tags: []string{"ingress.host=" + grpcHost, "ingress.scheme=grpc"}}
		sim.Register(reg)
		now = append(now, inst{s, reg})
	}
	for range 3 {
		add()
	}
	n := newIngress(t, url)
	callAll(t, n.traffic, func(some func()) {
		for range 12 {
			add()
			oldest := now[0]
			now = now[1:]
			sim.Deregister(nomad.DefaultNamespace, oldest.reg.ID)
			oldest.s.Shutdown(t.Context())
			some()
		}
	})
}

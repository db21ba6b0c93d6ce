package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
)

// TestGRPCSilence: a stream that has nothing to say is not cut for it, although an answer
// of HTTP would be; nor are the pings of either side in its way.
func TestGRPCSilence(t *testing.T) {
	t.Parallel()
	pings := grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Second, Timeout: long})
	i, c, _ := grpcWays[0].behindSerai(t, "a", []string{"ingress.body-idle=100ms", "ingress.timeout=1m"},
		[]string{"--body-idle=100ms", "--min-rate=1024"}, []grpc.ServerOption{pings},
		[]grpc.DialOption{grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: long, PermitWithoutStream: true})})
	ctx := within(t)
	var open []grpc.ClientStream
	for _, half := range []bool{false, true} {
		s := openStream(t, metadata.NewOutgoingContext(ctx, metadata.Pairs("hang-name", "silent", "hang-late", "late")), c, "/own/Hang")
		if half {
			s.CloseSend()
		}
		told(t, "begun", i.begun, "silent")
		if err := s.RecvMsg(new(message)); err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	talk := openStream(t, ctx, c, "/own/Echo")
	silence := 2 * time.Second
	if !testing.Short() {
		silence = 21 * time.Second // two pings of the client, which sends no more
	}
	select {
	case <-i.ended:
		t.Error("a silent stream ended")
	case <-time.After(silence):
	}
	if err := talk.SendMsg(&message{Value: []byte("at last")}); err != nil {
		t.Error(err)
	}
	if err := talk.RecvMsg(new(message)); err != nil {
		t.Errorf("a stream that began with silence is answered %v", err)
	}
	for _, s := range open {
		ended := make(chan error, 1)
		go func() { ended <- s.RecvMsg(new(message)) }()
		select {
		case err := <-ended:
			t.Errorf("a silent stream ended with %v", err)
		default:
		}
	}
	i.server.Stop()
}

// TestGRPCManyStreams: neither side's limit of streams fails a call.
func TestGRPCManyStreams(t *testing.T) {
	for _, w := range grpcWays {
		t.Run(w.name, func(t *testing.T) {
			_, c, _ := w.behindSerai(t, "a", nil, []string{"--http2-streams=20"}, []grpc.ServerOption{grpc.MaxConcurrentStreams(3)}, nil)
			ctx := within(t)
			var running sync.WaitGroup
			for range 100 {
				running.Go(func() {
					for range 10 {
						if _, err := who(ctx, c); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			running.Wait()
			// As many streams as the client may have, each of which holds one of the instance's.
			var open []grpc.ClientStream
			for range 20 {
				s := openStream(t, ctx, c, "/own/Echo")
				if err := s.SendMsg(&message{Value: []byte("x")}); err != nil {
					t.Fatal(err)
				}
				open = append(open, s)
			}
			for _, s := range open {
				if err := s.RecvMsg(new(message)); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range open {
				s.CloseSend()
				if err := endOf(s); err != io.EOF {
					t.Error(err)
				}
			}
		})
	}
}

// TestGRPCBalance: each call over one connection is balanced.
func TestGRPCBalance(t *testing.T) {
	a, b := newGRPCInstance(t, "a"), newGRPCInstance(t, "b")
	_, address := serveStatic(t, []nomad.Registration{a.registration("ingress.scheme=grpc"), b.registration("ingress.scheme=grpc")})
	c := dialGRPC(t, address, grpcHost)
	ctx := within(t)
	until(t, "both instances", func() bool {
		seen := make(map[string]int)
		for range 100 {
			name, err := who(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			seen[name]++
		}
		return seen["a"] >= 20 && seen["b"] >= 20
	})
}

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
	callAll(t, n.traffic, 0, func(some func()) {
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
// what it does. None may fail, but for so many whose message has come later than their head, which
// is not sent twice.
func callAll(t *testing.T, address string, late int64, replace func(some func())) {
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
					if failed.Add(1) <= late && strings.Contains(err.Error(), "upstream-refused") {
						continue
					}
					t.Errorf("a call with %d bytes failed: %v", size, err)
				}
			}
		})
	}
	replace(func() {
		before := calls.Load()
		until(t, "some calls", func() bool { return calls.Load() > before+100 || failed.Load() > late })
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
	callAll(t, n.traffic, 2, func(some func()) {
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

// TestGRPCStreamsEnd: when an instance is gone, or serai drains, streams end with a status
// that clients try again, and a new stream goes elsewhere.
func TestGRPCStreamsEnd(t *testing.T) {
	open := func(t *testing.T, ctx context.Context, c *grpc.ClientConn, i *grpcInstance, late string) grpc.ClientStream {
		t.Helper()
		s := openStream(t, metadata.NewOutgoingContext(ctx, metadata.Pairs("hang-name", "x", "hang-late", late)), c, "/own/Hang")
		told(t, "begun", i.begun, "x")
		if late != "" {
			if err := s.RecvMsg(new(message)); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	for _, w := range grpcWays {
		t.Run(w.name, func(t *testing.T) {
			t.Run("instance", func(t *testing.T) {
				i, c, _ := w.behindSerai(t, "a", []string{"ingress.wait=0s"}, nil, nil, nil)
				ctx := within(t)
				until(t, "the instance", func() bool { _, err := who(ctx, c); return err == nil })
				early, late := open(t, ctx, c, i, ""), open(t, ctx, c, i, "late")
				i.server.Stop()
				for what, s := range map[string]grpc.ClientStream{"early": early, "late": late} {
					if err := endOf(s); status.Code(err) != codes.Unavailable {
						t.Errorf("a stream, %s, ended with %v", what, err)
					}
				}
				if _, err := who(ctx, c); status.Code(err) != codes.Unavailable {
					t.Errorf("without an instance a call is answered %v", err)
				}
			})
			t.Run("drain", func(t *testing.T) {
				i, c, p := w.behindSerai(t, "a", nil, []string{"--drain-timeout=1s"}, nil, nil)
				ctx := within(t)
				late := open(t, ctx, c, i, "late")
				early := open(t, ctx, c, i, "")
				p.stop()
				for what, s := range map[string]grpc.ClientStream{"early": early, "late": late} {
					if err := endOf(s); status.Code(err) != codes.Unavailable {
						t.Errorf("a stream, %s, ended with %v", what, err)
					}
				}
				told(t, "the end at the instance", i.ended, "x")
				told(t, "the end at the instance", i.ended, "x")
			})
		})
	}
}

// TestGRPCUnaryInDrain: calls under way are finished while serai drains, and those of a
// client that has heard of it go elsewhere.
func TestGRPCUnaryInDrain(t *testing.T) {
	_, c, p := grpcWays[0].behindSerai(t, "a", nil, []string{"--drain-timeout=20s"}, nil, nil)
	ctx := within(t)
	s := openStream(t, ctx, c, "/own/Echo")
	if err := s.SendMsg(&message{Value: []byte("before")}); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(message)); err != nil {
		t.Fatal(err)
	}
	p.stop()
	until(t, "the GOAWAY", func() bool { _, err := who(ctx, c); return err != nil })
	if err := s.SendMsg(&message{Value: []byte("after")}); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(message)); err != nil {
		t.Errorf("a stream under way is cut: %v", err)
	}
	s.CloseSend()
	if err := endOf(s); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
}

// TestGRPCRetries: what an instance answers with UNAVAILABLE, and nothing else, is asked of
// another where the tags say that requests may be repeated.
func TestGRPCRetries(t *testing.T) {
	for name, c := range map[string]struct {
		tag, late string
		repeated  bool
	}{
		"asked for": {"ingress.retry-post=on", "", true}, "not asked for": {"ingress.retry-post=off", "", false},
		"none left": {"ingress.retries=0", "", false}, "begun": {"ingress.retry-post=on", "late", false},
	} {
		t.Run(name, func(t *testing.T) {
			ill, well := newGRPCInstance(t, "ill"), newGRPCInstance(t, "well")
			ill.ill = true
			tags := []string{"ingress.scheme=grpc", "ingress.lb=round-robin", c.tag}
			_, address := serveStatic(t, []nomad.Registration{ill.registration(tags...), well.registration(tags...)})
			client := dialGRPC(t, address, grpcHost)
			ctx := metadata.NewOutgoingContext(within(t), metadata.Pairs("ill-late", c.late))
			// A message that comes after its head is not sent twice: it is tried again.
			repeated, once := false, false
			until(t, "both instances", func() bool {
				before := ill.asked.Load()
				name, err := who(ctx, client)
				if got := status.Convert(err); got.Code() == codes.Unavailable && got.Message() == "ill is ill" {
					once = true
				} else if err != nil || name != "well" {
					t.Fatalf("answered %q, %v", name, err)
				} else if ill.asked.Load() > before {
					repeated = true
				}
				return repeated || once && !c.repeated && well.asked.Load() > 0
			})
			if repeated != c.repeated {
				t.Errorf("a call was repeated: %v", repeated)
			}
		})
	}
	t.Run("all are ill", func(t *testing.T) {
		ill := newGRPCInstance(t, "ill")
		ill.ill = true
		_, address := serveStatic(t, []nomad.Registration{ill.registration("ingress.scheme=grpc", "ingress.retry-post=on", "ingress.retries=2")})
		client, ctx := dialGRPC(t, address, grpcHost), within(t)
		until(t, "three attempts", func() bool {
			before := ill.asked.Load()
			_, err := who(ctx, client)
			if got := status.Convert(err); got.Code() != codes.Unavailable || got.Message() != "ill is ill" {
				t.Fatalf("answered %v, want what the last has said", err)
			}
			return ill.asked.Load() == before+3
		})
	})
}

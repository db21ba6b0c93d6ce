package main

import (
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"serai/nomad"
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

package main

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serai/nomad"
)

// TestGRPCStreamsEnd: when an instance is gone, or serai drains, streams end with a status
// that clients try again, and a new stream goes elsewhere.
func TestGRPCStreamsEnd(t *testing.T) {
	t.Parallel()
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

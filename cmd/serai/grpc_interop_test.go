package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestGRPCInterop runs the interop tests of grpc-go, on both sides, along every way. Those
// that need credentials of a cloud, or a balancer of gRPC's own, do not apply.
func TestGRPCInterop(t *testing.T) {
	for _, w := range grpcWays {
		t.Run(w.name, func(t *testing.T) {
			_, c, _ := w.behindSerai(t, "a", nil, nil, nil, nil)
			ctx := within(t)
			until(t, "the instance", func() bool { _, err := who(ctx, c); return err == nil })
			tc := testgrpc.NewTestServiceClient(c)
			run := func(name string, do func()) {
				t.Run(name, func(t *testing.T) {
					// Its deadline of 1 ms may be over before it has sent, which it does not foresee.
					told := survive(do)
					if late := strings.Contains(told, "Send(_)") && strings.Contains(told, "DeadlineExceeded"); told != "" && !late {
						t.Error(told)
					}
				})
			}
			for name, do := range map[string]func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption){
				"empty_unary": interop.DoEmptyUnaryCall, "large_unary": interop.DoLargeUnaryCall, "client_streaming": interop.DoClientStreaming,
				"server_streaming": interop.DoServerStreaming, "ping_pong": interop.DoPingPong, "empty_stream": interop.DoEmptyStream,
				"timeout_on_sleeping_server": interop.DoTimeoutOnSleepingServer, "cancel_after_begin": interop.DoCancelAfterBegin,
				"cancel_after_first_response": interop.DoCancelAfterFirstResponse, "custom_metadata": interop.DoCustomMetadata,
				"status_code_and_message": interop.DoStatusCodeAndMessage, "special_status_message": interop.DoSpecialStatusMessage,
			} {
				run(name, func() { do(ctx, tc) })
				run(name+" with gzip", func() { do(ctx, tc, grpc.UseCompressor("gzip")) })
			}
			run("unimplemented_method", func() { interop.DoUnimplementedMethod(ctx, c) })
			run("unimplemented_service", func() { interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(c)) })
		})
	}
}

// TestGRPCStatuses has every status told with trailers alone, and behind a message.
func TestGRPCStatuses(t *testing.T) {
	for _, w := range grpcWays {
		t.Run(w.name, func(t *testing.T) {
			_, c, _ := w.behindSerai(t, "a", nil, nil, nil, nil)
			ctx := within(t)
			messages := []string{"", "plain", "grüße, 100 % ≠ 日本", "two\nlines\tand\x7f\"\\", strings.Repeat("é", 1000)}
			for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
				for _, text := range messages {
					for _, late := range []string{"", "late"} {
						said := metadata.NewOutgoingContext(ctx, metadata.Pairs("fail-code", fmt.Sprint(int(code)), "fail-message-bin", text, "fail-late", late))
						s := openStream(t, said, c, "/own/Fail")
						s.CloseSend()
						got := status.Convert(endOf(s))
						if got.Code() != code || got.Message() != text {
							t.Errorf("%v %q, late %q, came as %v %q", code, text, late, got.Code(), got.Message())
						}
					}
				}
			}
		})
	}
}

// TestGRPCMetadata passes both ways, binary and repeated.
func TestGRPCMetadata(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	want := metadata.MD{
		"own-plain": {"a value, with; signs=\"x\" %41"}, "own-twice": {"one", "two", "one"}, "own-empty": {""},
		"own-bytes-bin": {string(every), "", "\x00", "ab"}, "own-long": {strings.Repeat("v", 6<<10)},
	}
	for _, w := range grpcWays {
		t.Run(w.name, func(t *testing.T) {
			_, c, _ := w.behindSerai(t, "a", nil, nil, nil, nil)
			s := openStream(t, metadata.NewOutgoingContext(within(t), want), c, "/own/Echo")
			s.CloseSend()
			if err := endOf(s); err != io.EOF {
				t.Fatal(err)
			}
			head, _ := s.Header()
			for where, got := range map[string]metadata.MD{"head": head, "trailers": s.Trailer()} {
				for name := range maps.Keys(want) {
					if !slices.Equal(got[name], want[name]) {
						t.Errorf("%s of the %s is %q, want %q", name, where, got[name], want[name])
					}
				}
			}
		})
	}
}

// TestGRPCMessages pass as they are, whatever their size, one way after the other and both at once.
func TestGRPCMessages(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 5, 8 << 10, 16<<10 - 5, 16 << 10, 16<<10 + 1, 64 << 10, 1 << 20, 5 << 20}
	for _, w := range grpcWays {
		for _, compressor := range []string{"identity", "gzip"} {
			t.Run(w.name+" "+compressor, func(t *testing.T) {
				_, c, _ := w.behindSerai(t, "a", nil, nil, nil, nil)
				s := openStream(t, within(t), c, "/own/Echo", grpc.UseCompressor(compressor), grpc.MaxCallRecvMsgSize(64<<20))
				pattern := func(n int) []byte {
					b := make([]byte, n)
					for i := range b {
						b[i] = byte(i * 7 >> 3)
					}
					return b
				}
				for _, n := range sizes {
					if err := s.SendMsg(&message{Value: pattern(n)}); err != nil {
						t.Fatal(err)
					}
					var m message
					if err := s.RecvMsg(&m); err != nil || !bytes.Equal(m.Value, pattern(n)) {
						t.Fatalf("%d bytes came back as %d, %v", n, len(m.Value), err)
					}
				}
				sent := make(chan error, 1)
				const many = 300
				go func() {
					for n := range many {
						if err := s.SendMsg(&message{Value: pattern(n)}); err != nil {
							sent <- err
							return
						}
					}
					sent <- s.CloseSend()
				}()
				for n := range many {
					var m message
					if err := s.RecvMsg(&m); err != nil || !bytes.Equal(m.Value, pattern(n)) {
						t.Fatalf("message %d came back as %d bytes, %v", n, len(m.Value), err)
					}
				}
				if err := endOf(s); err != io.EOF {
					t.Errorf("it ended with %v", err)
				}
				if err := <-sent; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestGRPCDeadline: the deadline reaches the instance, and ends the call there and here.
func TestGRPCDeadline(t *testing.T) {
	for _, w := range grpcWays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			i, c, _ := w.behindSerai(t, "a", nil, nil, nil, nil)
			until(t, "the instance", func() bool { _, err := who(within(t), c); return err == nil })
			for _, late := range []string{"", "late"} {
				ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.Pairs("hang-name", "timed", "hang-late", late)), 2*time.Second)
				s := openStream(t, ctx, c, "/own/Hang")
				s.CloseSend()
				if err := endOf(s); status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("the client is told %v", err)
				}
				cancel()
				told(t, "begun", i.begun, "timed")
				told(t, "ended", i.ended, "timed")
			}
		})
	}
}

// TestGRPCCancel: a call that the client gives up ends at the instance, before and behind
// the first message.
func TestGRPCCancel(t *testing.T) {
	for _, w := range grpcWays {
		t.Run(w.name, func(t *testing.T) {
			i, c, _ := w.behindSerai(t, "a", nil, nil, nil, nil)
			for _, late := range []string{"", "late"} {
				for _, half := range []bool{false, true} {
					ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(within(t), metadata.Pairs("hang-name", "given up", "hang-late", late)))
					s := openStream(t, ctx, c, "/own/Hang")
					if half {
						s.CloseSend()
					}
					told(t, "begun", i.begun, "given up")
					if late != "" {
						if err := s.RecvMsg(new(message)); err != nil {
							t.Fatal(err)
						}
					}
					cancel()
					told(t, "ended", i.ended, "given up")
				}
			}
		})
	}
}

package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serai/hello"
	echopb "serai/hello/echo"
)

// TestClientsOfHello shows that the sample service's own answers are no failures.
func TestClientsOfHello(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	serving.Go(func() { hello.Serve(ctx, l, hello.Options{}) })
	defer serving.Wait()
	defer stop()
	for _, c := range clientsOf(t, l.Addr().String()) {
		for i := range 16 {
			if failure := c.ask(i); failure != "" {
				t.Errorf("%s: request %d is counted as %q", c.name(), i, failure)
			}
		}
		c.close()
	}
}

func clientsOf(t *testing.T, address string) []asker {
	t.Helper()
	calls, err := newGRPCClient(entrance{plain: address}, "web.loadtest", 1)
	if err != nil {
		t.Fatal(err)
	}
	return []asker{calls, newHTTP2Client(entrance{plain: address}, "web.loadtest", http.MethodPut), newHTTP1Client(address, "web.loadtest", http.MethodPut)}
}

// TestClientsCountCauses shows what failures are counted as.
func TestClientsCountCauses(t *testing.T) {
	refused := serveGRPCOf(t, func(s grpc.ServerStream) error {
		s.SetTrailer(metadata.Pairs("X-Serai-Reason", "no-instance"))
		return status.Error(codes.Unavailable, "no instance of this service is ready (no-instance)")
	})
	other := serveGRPCOf(t, func(s grpc.ServerStream) error {
		m := new(echopb.SayRequest)
		if err := s.RecvMsg(m); err != nil {
			return err
		}
		return s.SendMsg(&echopb.SayResponse{Text: "something else"})
	})
	unavailable := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Serai-Reason", "queue-full")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	lost := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("web, 1 bytes of body\n")) })
	for _, c := range []struct {
		client, i int
		address   string
		want      string
	}{
		{0, 0, refused, "call UNAVAILABLE no-instance"},
		{0, 0, other, "call: another answer"},
		{1, 0, unavailable, "GET 503 queue-full"},
		{1, 1, unavailable, "POST 503 queue-full"},
		{1, 5, lost, "PUT: another answer"},
	} {
		client := clientsOf(t, c.address)[c.client]
		if got := client.ask(c.i); got != c.want {
			t.Errorf("%s at %s: counted as %q, want %q", client.name(), c.address, got, c.want)
		}
		client.close()
	}
}

func serveHTTP2(t *testing.T, answer http.HandlerFunc) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: plainHTTP2(), Handler: answer}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// serveGRPCOf answers every call in one way.
func serveGRPCOf(t *testing.T, answer func(grpc.ServerStream) error) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return answer(stream) }))
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// TestStreamsEnd shows which ends of streams are as promised.
func TestStreamsEnd(t *testing.T) {
	unavailable := status.Error(codes.Unavailable, "the service stops")
	for name, c := range map[string]struct {
		messages int // before the first end; the stream after it goes on
		err      error
		cause    string
		kept     bool
	}{
		"as promised":                 {1, unavailable, "UNAVAILABLE the service stops", true},
		"too early":                   {1, nil, "OK", false},
		"with another status":         {1, status.Error(codes.Internal, "a bug"), "INTERNAL a bug", false},
		"before it has brought any":   {0, unavailable, "UNAVAILABLE the service stops", false},
		"with another, before it has": {0, status.Error(codes.Unknown, "a bug"), "UNKNOWN a bug", false},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			ended := false
			address := serveGRPCOf(t, func(s grpc.ServerStream) error {
				mu.Lock()
				first := !ended
				ended = true
				mu.Unlock()
				messages := c.messages
				if !first {
					messages = 2
				}
				for range messages {
					if err := s.SendMsg(new(echopb.SayResponse)); err != nil {
						return err
					}
				}
				if first {
					return c.err
				}
				<-s.Context().Done()
				return s.Context().Err()
			})
			calls, err := newGRPCClient(entrance{plain: address}, "web.loadtest", 1)
			if err != nil {
				t.Fatal(err)
			}
			defer calls.close()
			s := startStreams(t.Context(), calls.channels, 1, time.Second, "a message")
			for {
				s.mu.Lock()
				messages := s.seen.Messages
				s.mu.Unlock()
				if messages == c.messages+2 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			seen := s.end()
			ends, other := seen.Ended, seen.Failed
			if c.messages == 0 {
				ends, other = seen.Failed, seen.Ended
			}
			if len(ends) != 1 || ends[c.cause] != 1 || len(other) != 0 || seen.Again != 1 || seen.kept() != c.kept {
				t.Errorf("it is counted as %+v, kept is %v", seen, seen.kept())
			}
		})
	}
}

func TestCodeName(t *testing.T) {
	for code, want := range map[codes.Code]string{codes.OK: "OK", codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.Unavailable: "UNAVAILABLE"} {
		if got := codeName(code); got != want {
			t.Errorf("%v is %q, want %q", code, got, want)
		}
	}
}

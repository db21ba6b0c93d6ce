package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"serai/internal/testnet"
	"serai/nomad"
)

const grpcHost = "grpc.example.org"

// dialGRPC is grpc-go's client of a host, with one connection and no retries.
func dialGRPC(t *testing.T, address, host string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	return dialGRPCOver(t, address, host, insecure.NewCredentials(), options...)
}

func dialGRPCOver(t *testing.T, address, host string, over credentials.TransportCredentials, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+address, append(options, grpc.WithTransportCredentials(over), grpc.WithAuthority(host), grpc.WithDisableRetry())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// grpcInstance is an instance by grpc-go: the service of its interop tests, and methods of
// our own below /own/.
type grpcInstance struct {
	name   string
	server *grpc.Server
	port   int
	ended  chan string // names of calls of /own/Hang that have ended before they would
	begun  chan string // that have begun
	asked  atomic.Int64
	ill    bool // it answers /own/Who with UNAVAILABLE
}

// newGRPCInstance serves until the test ends.
func newGRPCInstance(t *testing.T, name string, options ...grpc.ServerOption) *grpcInstance {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &grpcInstance{name: name, port: l.Addr().(*net.TCPAddr).Port, ended: make(chan string, 100), begun: make(chan string, 100)}
	i.server = grpc.NewServer(append(options, grpc.UnknownServiceHandler(i.own), grpc.MaxRecvMsgSize(64<<20))...)
	testgrpc.RegisterTestServiceServer(i.server, interop.NewTestServer())
	done := make(chan struct{})
	go func() { defer close(done); i.server.Serve(l) }()
	t.Cleanup(func() { i.server.Stop(); <-done })
	return i
}

func (i *grpcInstance) registration(tags ...string) nomad.Registration {
	return nomad.Registration{
		ID: "id-" + i.name, ServiceName: "grpc", Namespace: "default", AllocID: "alloc-" + i.name, JobID: "grpc",
		Address: "127.0.0.1", Port: i.port, Tags: append([]string{"ingress.host=" + grpcHost}, tags...),
	}
}

// The methods of our own take and give bytes.
type message = wrapperspb.BytesValue

func (i *grpcInstance) own(_ any, s grpc.ServerStream) error {
	ctx := s.Context()
	method, _ := grpc.Method(ctx)
	got, _ := metadata.FromIncomingContext(ctx)
	first := func(name string) string { return append(got.Get(name), "")[0] }
	switch method {
	case "/own/Who": // answers its name
		i.asked.Add(1)
		if err := s.RecvMsg(new(message)); err != nil {
			return err
		}
		if i.ill {
			if first("ill-late") != "" {
				s.SendHeader(metadata.MD{})
			}
			return status.Error(codes.Unavailable, i.name+" is ill")
		}
		return s.SendMsg(&message{Value: []byte(i.name)})
	case "/own/Fail": // fails at once, with what the client says, which may be an answer first
		code, _ := strconv.Atoi(first("fail-code"))
		if first("fail-late") != "" {
			if err := s.SendMsg(&message{Value: []byte("first")}); err != nil {
				return err
			}
		}
		return status.Error(codes.Code(code), string(first("fail-message-bin")))
	case "/own/Echo": // answers each message with the same, and metadata with the same
		same := metadata.MD{}
		for name, values := range got {
			if len(name) > 4 && name[:4] == "own-" {
				same[name] = values
			}
		}
		if err := s.SetHeader(same); err != nil {
			return err
		}
		s.SetTrailer(same)
		for {
			var m message
			if err := s.RecvMsg(&m); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.SendMsg(&m); err != nil {
				return err
			}
		}
	case "/own/Hang": // answers nothing, or a first message
		if first("hang-late") != "" {
			if err := s.SendMsg(&message{Value: []byte("first")}); err != nil {
				return err
			}
		}
		i.begun <- first("hang-name")
		<-ctx.Done()
		i.ended <- first("hang-name")
		return ctx.Err()
	}
	return status.Error(codes.Unimplemented, method)
}

// gRPCWay is a way to a serai and on from it.
type grpcWay struct {
	name   string
	secure bool   // the client speaks TLS
	scheme string // to the instance
}

// gRPCWays are all that apply: a client over HTTP/1 cannot speak gRPC, since it needs
// trailers behind every answer, and grpc-web is another protocol.
var grpcWays = []grpcWay{
	{"h2c to grpc", false, "grpc"}, {"h2c to grpcs", false, "grpcs"}, {"h2 to grpc", true, "grpc"}, {"h2 to grpcs", true, "grpcs"},
}

// behindSerai has instances served along a way, and returns a client.
func (w grpcWay) behindSerai(t *testing.T, name string, tags, flags []string, instance []grpc.ServerOption, client []grpc.DialOption) (*grpcInstance, *grpc.ClientConn, *process) {
	t.Helper()
	issuer := authority(t)
	tags = append([]string{"ingress.scheme=" + w.scheme}, tags...)
	if w.scheme == "grpcs" {
		own := issuer.issue(t, grpcHost)
		instance = append(instance, grpc.Creds(credentials.NewServerTLSFromCert(&own)))
		tags = append(tags, "ingress.tls-verify=false")
	}
	i := newGRPCInstance(t, name, instance...)
	dir, secure := t.TempDir(), testnet.Address(t)
	issuer.write(t, dir, grpcHost, grpcHost)
	p, plain := serveStatic(t, []nomad.Registration{i.registration(tags...)}, append(flags, "--https="+secure, "--cert-dir="+dir)...)
	address, over := plain, insecure.NewCredentials()
	if w.secure {
		until(t, "the HTTPS listener", func() bool {
			c, err := net.Dial("tcp", secure)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		address, over = secure, credentials.NewTLS(&tls.Config{ServerName: grpcHost, InsecureSkipVerify: true})
	}
	c := dialGRPCOver(t, address, grpcHost, over, client...)
	return i, c, p
}

// within bounds the calls of a test.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	t.Cleanup(cancel)
	return ctx
}

// who asks which instance answers.
func who(ctx context.Context, c *grpc.ClientConn) (string, error) {
	var m message
	err := c.Invoke(ctx, "/own/Who", new(message), &m)
	return string(m.Value), err
}

// both is a stream of messages both ways.
var both = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

func openStream(t *testing.T, ctx context.Context, c *grpc.ClientConn, method string, options ...grpc.CallOption) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, both, method, options...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// endOf reads a stream to its end.
func endOf(s grpc.ClientStream) error {
	for {
		if err := s.RecvMsg(new(message)); err != nil {
			return err
		}
	}
}

// told waits for a name.
func told(t *testing.T, what string, names <-chan string, name string) {
	t.Helper()
	select {
	case got := <-names:
		if got != name {
			t.Errorf("%s: %q, want %q", what, got, name)
		}
	case <-time.After(long):
		t.Fatalf("%s: nothing of %s", what, name)
	}
}

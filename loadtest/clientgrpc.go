package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	echopb "serai/hello/echo"
)

// grpcClient makes unary calls as users of grpc-go do: on lasting channels, with the
// default service configuration, without waiting for a broken channel.
type grpcClient struct {
	channels []*grpc.ClientConn
	again    *resends
}

// newGRPCClient makes so many channels to each of the entrance's addresses. They connect
// with the first call.
func newGRPCClient(at entrance, host string, channels int) (*grpcClient, error) {
	c := &grpcClient{again: new(resends)}
	secure := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: host})
	for range channels {
		for address, over := range map[string]credentials.TransportCredentials{at.plain: insecure.NewCredentials(), at.secure: secure} {
			if address == "" {
				continue
			}
			channel, err := grpc.NewClient(address, grpc.WithTransportCredentials(over), grpc.WithAuthority(host), grpc.WithStatsHandler(c.again))
			if err != nil {
				c.close()
				return nil, err
			}
			c.channels = append(c.channels, channel)
		}
	}
	return c, nil
}

func (c *grpcClient) name() string { return "gRPC, unary" }

func (c *grpcClient) close() {
	for _, channel := range c.channels {
		channel.Close()
	}
}

func (c *grpcClient) ask(i int) (failure string) {
	q := &echopb.SayRequest{Text: "a message"}
	if i%4 == 3 {
		q.Text = string(largeBody)
	}
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	var a echopb.SayResponse
	var trailer metadata.MD
	err := c.channels[i%len(c.channels)].Invoke(ctx, echopb.EchoSayProcedure, q, &a, grpc.Trailer(&trailer))
	switch {
	case err != nil:
		return "call " + causeOf(err, trailer)
	case a.GetText() != q.GetText():
		return "call: another answer"
	}
	return ""
}

// causeOf is how a call ended: its status, and the reason that serai gives, or else the
// message.
func causeOf(err error, trailer metadata.MD) string {
	s := status.Convert(err)
	reason := strings.Join(trailer.Get("X-Serai-Reason"), ", ")
	return fmt.Sprintf("%s %s", codeName(s.Code()), cmp.Or(reason, withoutNumbers(s.Message())))
}

// codeName is a code as the specification of gRPC writes it.
func codeName(c codes.Code) string {
	name := []byte(c.String())
	var b strings.Builder
	for i, l := range name {
		if i > 0 && l >= 'A' && l <= 'Z' && name[i-1] >= 'a' {
			b.WriteByte('_')
		}
		b.WriteByte(l)
	}
	return strings.ToUpper(b.String())
}

// resends counts the calls that grpc-go sends again by itself.
type resends struct{ count atomic.Int64 }

var _ stats.Handler = (*resends)(nil)

func (r *resends) HandleRPC(_ context.Context, s stats.RPCStats) {
	if b, ok := s.(*stats.Begin); ok && b.IsTransparentRetryAttempt {
		r.count.Add(1)
	}
}

func (r *resends) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (r *resends) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (r *resends) HandleConn(context.Context, stats.ConnStats)                       {}

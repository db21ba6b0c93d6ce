package main

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// dialGRPC is grpc-go's client of a host, with one connection.
func dialGRPC(t *testing.T, address, host string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	return dialGRPCOver(t, address, host, insecure.NewCredentials(), options...)
}

func dialGRPCOver(t *testing.T, address, host string, over credentials.TransportCredentials, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+address, append(options, grpc.WithTransportCredentials(over), grpc.WithAuthority(host))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

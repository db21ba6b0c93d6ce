package http2_test

import (
	"context"
	"crypto/tls"
	"net"
)

// plainDial connects without TLS, as prior knowledge does.
func plainDial(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"serai/wire/socket"
)

// bind opens an address for one of the listener flags. Shared lets another
// process open it as well; connections of clients that take nothing for so long
// end.
func bind(address, flag string, shared bool, writeIdle time.Duration) (net.Listener, error) {
	// Connections have the keep-alive of their listener, not one set for each.
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		if shared {
			if err := socket.SetOptions(c, socket.Option{Level: unix.SOL_SOCKET, Name: unix.SO_REUSEPORT, Value: 1}); err != nil {
				return err
			}
		}
		return errors.Join(socket.GiveUpAfter(c, writeIdle), socket.ProbeSilent(c))
	}}
	l, err := config.Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("listen on %s: %w; ports below 1024 need root, the capability net_bind_service, or the sysctl net.ipv4.ip_unprivileged_port_start; or set --%s", address, err, flag)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w; free the address or set --%s", address, err, flag)
	}
	return &port{TCPListener: l.(*net.TCPListener)}, nil
}

// port is a listener that accepts what has already come before it closes:
// connections that wait in a closed listener's queue are reset.
type port struct {
	*net.TCPListener
	accepting, closing atomic.Bool
}

// lastAccepts is how long a listener that is to be closed still accepts.
const lastAccepts = 5 * time.Millisecond

// Accept waits for a connection. The error is net.ErrClosed after Close.
func (p *port) Accept() (net.Conn, error) {
	p.accepting.Store(true)
	c, err := p.TCPListener.Accept()
	if err != nil && p.closing.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		p.TCPListener.Close()
		return nil, net.ErrClosed
	}
	return c, err
}

// Close makes Accept close the listener soon. Where nobody accepts, and on a
// second call, it closes at once.
func (p *port) Close() error {
	if p.accepting.Load() && p.closing.CompareAndSwap(false, true) {
		return p.SetDeadline(time.Now().Add(lastAccepts))
	}
	return p.TCPListener.Close()
}

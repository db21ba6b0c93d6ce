package front

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"serai/wire/socket"
)

// Listen opens a TCP address. Shared lets another process open it, too. Connections
// whose clients accept nothing for writeIdle are closed.
func Listen(address string, shared bool, writeIdle time.Duration) (net.Listener, error) {
	// Connections inherit options from their listener, which saves system calls.
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		if shared {
			if err := socket.SetOptions(c, socket.Option{Level: unix.SOL_SOCKET, Name: unix.SO_REUSEPORT, Value: 1}); err != nil {
				return err
			}
		}
		return errors.Join(socket.GiveUpAfter(c, writeIdle), socket.ProbeSilent(c), socket.BoundUnsent(c))
	}}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return &port{TCPListener: l.(*net.TCPListener)}, nil
}

// port is a listener that accepts the connections in its queue before it closes: the
// kernel resets those that are left in the queue of a closed listener.
type port struct {
	*net.TCPListener
	accepting, closing atomic.Bool
}

// lastAccepts is how long a listener still accepts after Close.
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

// Close makes Accept close the listener soon. If Accept was never called, and on a
// second call, it closes it at once.
func (p *port) Close() error {
	if p.accepting.Load() && p.closing.CompareAndSwap(false, true) {
		return p.SetDeadline(time.Now().Add(lastAccepts))
	}
	return p.TCPListener.Close()
}

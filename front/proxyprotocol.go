package front

import (
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// AcceptProxyProtocol lets trusted peers name the client that they speak for, in
// a header that has to come within timeout.
func AcceptProxyProtocol(l net.Listener, trusted []netip.Prefix, timeout time.Duration) net.Listener {
	if len(trusted) == 0 {
		return l
	}
	return &announcedListener{&proxyproto.Listener{Listener: l, ReadHeaderTimeout: timeout, ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		if a, ok := o.Upstream.(*net.TCPAddr); ok {
			for _, p := range trusted {
				if p.Contains(a.AddrPort().Addr().Unmap()) {
					return proxyproto.USE, nil
				}
			}
		}
		return proxyproto.SKIP, nil
	}}}
}

// announcedListener accepts connections that a PROXY header may announce.
type announcedListener struct{ *proxyproto.Listener }

// Accept waits for the next connection, not for its header.
func (l *announcedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if p, ok := c.(*proxyproto.Conn); ok {
		return announced{p}, err
	}
	return c, err
}

// announced gives back what proxyproto.Conn hides of its socket: without it a
// client's half-close would end a tunnel, and its departure not be noticed.
type announced struct{ *proxyproto.Conn }

// NetConn returns the socket.
func (c announced) NetConn() net.Conn { return c.Raw() }

// CloseWrite closes the sending side.
func (c announced) CloseWrite() error {
	t, ok := c.TCPConn()
	if !ok {
		return net.ErrClosed
	}
	return t.CloseWrite()
}

// RemoteAddr returns the client's address; the socket's where the header has
// one of another family, such as a Unix socket's, which nobody could be told.
func (c announced) RemoteAddr() net.Addr {
	if a, ok := c.Conn.RemoteAddr().(*net.TCPAddr); ok {
		return a
	}
	return c.Raw().RemoteAddr()
}

// LocalAddr returns the address that the client spoke to, likewise.
func (c announced) LocalAddr() net.Addr {
	if a, ok := c.Conn.LocalAddr().(*net.TCPAddr); ok {
		return a
	}
	return c.Raw().LocalAddr()
}

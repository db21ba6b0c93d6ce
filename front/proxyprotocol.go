package front

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// AcceptProxyProtocol lets trusted peers name the client of a connection in a PROXY
// header, which must come within timeout.
func AcceptProxyProtocol(l net.Listener, trusted []netip.Prefix, timeout time.Duration) net.Listener {
	if len(trusted) == 0 {
		return l
	}
	return &proxiedListener{&proxyproto.Listener{
		Listener: &headerListener{l, trusted}, ReadHeaderTimeout: timeout,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if isTrusted(trusted, o.Upstream) {
				return proxyproto.USE, nil
			}
			return proxyproto.SKIP, nil
		},
	}}
}

// isTrusted reports whether a peer may begin with a header.
func isTrusted(trusted []netip.Prefix, peer net.Addr) bool {
	a := addrOf(peer).Addr() // without a zone: no prefix contains an address that has one
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// headerListener makes a headerConn of each connection from a trusted peer.
type headerListener struct {
	net.Listener
	trusted []netip.Prefix
}

// Accept waits for the next connection.
func (l *headerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil && isTrusted(l.trusted, c.RemoteAddr()) {
		return &headerConn{Conn: c}, nil
	}
	return c, err
}

// proxiedListener accepts connections that may begin with a PROXY header.
type proxiedListener struct{ *proxyproto.Listener }

// Accept waits for the next connection, but not for its header.
func (l *proxiedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if p, ok := c.(*proxyproto.Conn); ok {
		return proxiedConn{p}, err
	}
	return c, err
}

// proxiedConn gives access to the socket that proxyproto.Conn hides. Without it, a
// client's half-close would end a tunnel, and nobody would notice that a client has
// left.
type proxiedConn struct{ *proxyproto.Conn }

// NetConn returns the socket.
func (c proxiedConn) NetConn() net.Conn { return c.Raw().(*headerConn).Conn }

// CloseWrite closes the sending side.
func (c proxiedConn) CloseWrite() error {
	t, ok := c.NetConn().(*net.TCPConn)
	if !ok {
		return net.ErrClosed
	}
	return t.CloseWrite()
}

// RemoteAddr returns the client's address. It is the socket's if the header names an
// address of another family, such as a Unix socket's.
func (c proxiedConn) RemoteAddr() net.Addr {
	if a, ok := c.Conn.RemoteAddr().(*net.TCPAddr); ok {
		return a
	}
	return c.Raw().RemoteAddr()
}

// LocalAddr returns the address that the client connected to, with the same exception.
func (c proxiedConn) LocalAddr() net.Addr {
	if a, ok := c.Conn.LocalAddr().(*net.TCPAddr); ok {
		return a
	}
	return c.Raw().LocalAddr()
}

package front

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// AcceptProxyProtocol lets trusted peers name the client that they speak for, in
// a header that has to come within timeout.
func AcceptProxyProtocol(l net.Listener, trusted []netip.Prefix, timeout time.Duration) net.Listener {
	if len(trusted) == 0 {
		return l
	}
	return &announcedListener{&proxyproto.Listener{
		Listener: &headerListener{l, trusted}, ReadHeaderTimeout: timeout,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if announces(trusted, o.Upstream) {
				return proxyproto.USE, nil
			}
			return proxyproto.SKIP, nil
		},
	}}
}

// announces reports whether a peer may begin with a header.
func announces(trusted []netip.Prefix, peer net.Addr) bool {
	a := addrOf(peer).Addr() // without a zone: no prefix contains an address that has one
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// headerListener makes a headerConn of what comes from those peers.
type headerListener struct {
	net.Listener
	trusted []netip.Prefix
}

// Accept waits for the next connection.
func (l *headerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil && announces(l.trusted, c.RemoteAddr()) {
		return &headerConn{Conn: c}, nil
	}
	return c, err
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
func (c announced) NetConn() net.Conn { return c.Raw().(*headerConn).Conn }

// CloseWrite closes the sending side.
func (c announced) CloseWrite() error {
	t, ok := c.NetConn().(*net.TCPConn)
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

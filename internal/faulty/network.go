package faulty

import (
	"net"
	"sync"
)

// Network is the network between an agent and its clients.
type Network struct {
	mu     sync.Mutex
	healed chan struct{} // closed while bytes flow
	conns  map[*conn]struct{}
}

// NewNetwork returns a network on which bytes flow.
func NewNetwork() *Network {
	n := &Network{healed: make(chan struct{}), conns: map[*conn]struct{}{}}
	close(n.healed)
	return n
}

// Partition stops (or resumes) all bytes on the connections of its listeners, without
// closing any, like an unplugged cable. New connections are accepted, as by a kernel,
// and stay silent.
func (n *Network) Partition(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.healed:
		if cut {
			n.healed = make(chan struct{})
		}
	default:
		if !cut {
			close(n.healed)
		}
	}
}

// Disconnect closes every connection, as if the agent had crashed and restarted.
func (n *Network) Disconnect() {
	n.mu.Lock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

func (n *Network) open() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.healed
}

// Listen returns l with this network before it.
func (n *Network) Listen(l net.Listener) net.Listener { return &listener{l, n} }

type listener struct {
	net.Listener
	net *Network
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	wrapped := &conn{Conn: c, net: l.net, closed: make(chan struct{})}
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.net.conns[wrapped] = struct{}{}
	return wrapped, nil
}

// conn is a connection whose bytes wait while the network is cut.
type conn struct {
	net.Conn
	net    *Network
	once   sync.Once
	closed chan struct{}
}

// pass waits until bytes may flow and returns false if c was closed first.
func (c *conn) pass() bool {
	for {
		open := c.net.open()
		select {
		case <-open:
			return true
		case <-c.closed:
			return false
		}
	}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && !c.pass() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if !c.pass() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
	})
	return c.Conn.Close()
}

package nomadsim

import (
	"net"
	"sync"
)

// partition is the network between the agent and its clients, for connections that Run
// serves.
type partition struct {
	mu     sync.Mutex
	healed chan struct{} // closed while bytes flow
	conns  map[*conn]struct{}
}

func (p *partition) init() {
	p.healed = make(chan struct{})
	close(p.healed)
	p.conns = map[*conn]struct{}{}
}

// Partition stops (or resumes) all bytes on the connections that Run serves, without
// closing any, like an unplugged cable. New connections are accepted, as by a kernel,
// and stay silent.
func (s *Sim) Partition(cut bool) {
	p := &s.net
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.healed:
		if cut {
			p.healed = make(chan struct{})
		}
	default:
		if !cut {
			close(p.healed)
		}
	}
}

// Disconnect closes every connection that Run serves, as if the agent had crashed and
// restarted.
func (s *Sim) Disconnect() {
	s.net.mu.Lock()
	conns := make([]*conn, 0, len(s.net.conns))
	for c := range s.net.conns {
		conns = append(conns, c)
	}
	s.net.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

func (p *partition) open() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.healed
}

func (p *partition) listen(l net.Listener) net.Listener { return &listener{l, p} }

type listener struct {
	net.Listener
	net *partition
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
	net    *partition
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

package front

import (
	"crypto/tls"
	"net"
	"net/netip"

	"serai/internal/memory"
)

// clientKey is what connections are counted by: an IPv4 address, or the /64 of
// an IPv6 one, which one client has to itself.
type clientKey netip.Prefix

func keyOf(a netip.Addr) clientKey {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return clientKey(p)
}

// accept gives nc to a goroutine of its own, unless a limit is reached.
func (s *Server) accept(nc net.Conn, shard int, end <-chan struct{}) {
	c := &Conn{conn: conn{server: s}}
	c.Shard = shard
	c.Socket.Init(nc)
	c.Socket.LimitMemory(s.options.Memory)
	_, c.Secure = nc.(*tls.Conn)
	if !s.add(c) {
		s.refused.Add(1)
		nc.Close()
		return
	}
	if c.Secure && !s.handshakes.begin(c) {
		s.refused.Add(1)
		s.remove(c)
		return
	}
	s.accepted.Add(1)
	select {
	case s.workers <- c:
	default:
		s.running.Go(func() { s.work(c, end) })
	}
}

// maxIdleWorkers bounds the goroutines that wait for a connection.
const maxIdleWorkers = 64

// work takes one new connection after the other, until end is closed or there is
// nothing to do (endWorkers). A goroutine
// that has served one has a stack that has grown, which a new one would have to
// grow again.
func (s *Server) work(c *Conn, end <-chan struct{}) {
	for {
		c.start(c.Socket.Conn)
		if s.idleWorkers.Add(1) > maxIdleWorkers {
			s.idleWorkers.Add(-1)
			return
		}
		c = nil // it may be gone long before the next one comes
		select {
		case c = <-s.workers:
		case <-end:
		}
		if s.idleWorkers.Add(-1); c == nil {
			return
		}
	}
}

// start finds out who is at the other end, and which engine speaks its protocol.
func (c *Conn) start(nc net.Conn) {
	defer c.contain()
	// Behind the PROXY protocol this waits for the first bytes.
	c.Remote, c.Local = addrOf(nc.RemoteAddr()), addrOf(nc.LocalAddr())
	c.RemoteText = c.Remote.Addr().AppendTo(nil)
	s := c.server
	if !s.countClient(c) {
		s.refused.Add(1)
		s.handshakes.end(c)
		s.remove(c)
		return
	}
	t, secure := nc.(*tls.Conn)
	if !secure {
		c.open(s.options.Engines[""])
		c.run()
		return
	}
	how, ok := c.shakeHands(t)
	e := s.options.Engines[c.Protocol]
	if !ok || e == nil { // a CA that validates a name asks for nothing else (RFC 8737)
		c.end(how)
		return
	}
	c.open(e)
	go c.run() // on a stack that no handshake has grown
}

// add counts c in, and reports whether the limit of all allows it.
func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.options.MaxConns > 0 && len(s.conns) >= s.options.MaxConns {
		return false
	}
	if !s.options.Memory.Take(memory.Connections, c.cost()) {
		return false
	}
	if q := s.options.Shared; q != nil && !q.Take(1, int64(s.options.MaxShared)) {
		s.options.Memory.Give(memory.Connections, c.cost())
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// What an open connection takes, in bytes: its stack, and under TLS the buffers of
// crypto/tls.
const (
	plainCost = 6 << 10
	tlsCost   = 20 << 10
)

// cost is what the connection takes for as long as it is open.
func (c *Conn) cost() int64 {
	if c.Secure {
		return tlsCost
	}
	return plainCost
}

// sharesLeft bounds the connections of one client, where memory has a limit, by so
// many times what is left for others. One client may have four fifths; ten together
// leave a fortieth, of which each newcomer may have its part.
const sharesLeft = 4

// countClient counts c in for its client, and reports whether that one's limit
// allows it.
func (s *Server) countClient(c *Conn) bool {
	limit, budget := s.options.MaxConnsPerClient, s.options.Memory
	if limit == 0 && budget == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(c.Remote.Addr())
	n := s.perClient[key]
	if limit > 0 && n >= limit || budget != nil && int64(n)*c.cost() > sharesLeft*budget.Left(memory.Connections) {
		return false
	}
	s.perClient[key]++
	c.counted = true
	return true
}

func (s *Server) remove(c *Conn) {
	c.Socket.End()
	s.options.Memory.Give(memory.Connections, c.cost())
	if q := s.options.Shared; q != nil {
		q.Give(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.counted {
		key := keyOf(c.Remote.Addr())
		if s.perClient[key]--; s.perClient[key] == 0 {
			delete(s.perClient, key)
		}
	}
	s.signalEmpty()
}

func addrOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
	}
	p, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

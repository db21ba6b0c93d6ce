package front

import (
	"crypto/tls"
	"net"
	"net/netip"
)

// accept gives nc to a goroutine of its own, unless a limit is reached.
func (s *Server) accept(nc net.Conn, shard int, end <-chan struct{}) {
	c := s.newConn(nc)
	c.Shard = shard
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
	c.RemoteText = c.Remote.Addr().AppendTo(c.text[:0])
	s := c.server
	if !s.name(c) {
		s.refused.Add(1)
		s.handshakes.end(c)
		s.remove(c)
		return
	}
	c.Socket.LimitMemory(c.Memory)
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

// add counts c in, and reports whether the limits allow it. Where a header is to
// name the client, c is the peer's until then.
func (s *Server) add(c *Conn) bool {
	peer, named := peerOf(c.Socket.Conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	if c.named = named; !s.admit(c, addrOf(peer).Addr()) {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// admit counts c in for a client, and reports whether its limits, and those of all,
// allow it. A peer that has not named its client yet may be a balancer.
func (s *Server) admit(c *Conn, of netip.Addr) bool {
	key, most := keyOf(of), s.options.MaxConnsPerClient
	if !c.named {
		most = 0
	}
	if s.own.admit(&c.own, key, c.Cost(), most) == nil {
		return false
	}
	shared := s.options.Clients.admit(&c.shared, key, c.Cost(), 0)
	if shared == nil {
		s.own.dismiss(&c.own, c.Cost())
		return false
	}
	c.Memory = &shared.memory
	return true
}

// dismiss counts c out, if it was counted in.
func (s *Server) dismiss(c *Conn) {
	s.options.Clients.dismiss(&c.shared, c.Cost())
	s.own.dismiss(&c.own, c.Cost())
}

// What an open connection takes, in bytes: its stack, and under TLS the buffers of
// crypto/tls.
const (
	plainCost = 6 << 10
	tlsCost   = 20 << 10
)

// Cost is what the connection takes for as long as it is open, in bytes.
func (c *Conn) Cost() int64 {
	if c.Secure {
		return tlsCost
	}
	return plainCost
}

// name counts c for its client, which is known now, and reports whether the limits
// allow it.
func (s *Server) name(c *Conn) bool {
	if c.named {
		return true
	}
	c.named = true
	s.dismiss(c)
	return s.admit(c, c.Remote.Addr())
}

// remove closes c and counts it out. Then it is over, but for what watch still does
// with it.
func (s *Server) remove(c *Conn) (watched bool) {
	c.Socket.End()
	s.dismiss(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.signalEmpty()
	return c.watched
}

func addrOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
	}
	p, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

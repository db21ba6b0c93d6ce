package front

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"

	"serai/internal/quota"
)

// accept passes nc to a worker, unless a limit is reached.
func (s *Server) accept(nc net.Conn, shard int, w *workers) {
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
	if !w.give(c) {
		s.running.Go(func() { w.run(c) })
	}
}

// start identifies the peer, and selects the engine.
func (c *Conn) start(nc net.Conn) {
	defer c.contain()
	// With the PROXY protocol this waits for the first bytes.
	c.Remote, c.Local = addrOf(nc.RemoteAddr()), addrOf(nc.LocalAddr())
	c.RemoteText = c.Remote.Addr().AppendTo(c.text[:0])
	c.PortText = strconv.AppendUint(c.portText[:0], uint64(c.Local.Port()), 10)
	s := c.server
	if err := brokenHeader(nc); err != nil {
		s.refuseHeader(c, err)
		s.handshakes.end(c)
		s.remove(c)
		return
	}
	if !s.admitClient(c) {
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
	how, ok := c.handshakeTLS(t)
	e := s.options.Engines[c.Protocol]
	if !ok || e == nil { // a CA that validates a name needs only the handshake (RFC 8737)
		c.end(how)
		return
	}
	c.open(e)
	go c.run() // in a goroutine whose stack no handshake has grown
}

// add counts c, and reports whether the limits allow it. If a PROXY header will name
// the client, c counts for the peer until then.
func (s *Server) add(c *Conn) bool {
	peer, known := peerOf(c.Socket.Conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	if c.clientKnown = known; !s.admit(c, addrOf(peer).Addr()) {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// admit counts c for a client, and reports whether the limits of this client and of all
// clients allow it. A peer that has not named its client yet may be a load balancer,
// and has no limit of its own.
func (s *Server) admit(c *Conn, of netip.Addr) bool {
	key, most := quota.ClientOf(of), s.options.MaxConnsPerClient
	if !c.clientKnown {
		most = 0
	}
	if s.own.admit(&c.own, key, c.clientKnown, c.Cost(), most) == nil {
		return false
	}
	shared := s.options.Clients.admit(&c.shared, key, c.clientKnown, c.Cost(), 0)
	if shared == nil {
		s.own.dismiss(&c.own, c.Cost())
		return false
	}
	c.Memory = &shared.memory
	return true
}

// dismiss undoes admit, if that has counted c.
func (s *Server) dismiss(c *Conn) {
	s.options.Clients.dismiss(&c.shared, c.Cost())
	s.own.dismiss(&c.own, c.Cost())
}

// The memory of an open connection, in bytes: its stack, and with TLS the buffers of
// crypto/tls.
const (
	plainCost = 6 << 10
	tlsCost   = 20 << 10
)

// Cost is the memory of the connection as long as it is open, in bytes.
func (c *Conn) Cost() int64 {
	if c.Secure {
		return tlsCost
	}
	return plainCost
}

// admitClient counts c for its client, which is known now, and reports whether the
// limits allow it.
func (s *Server) admitClient(c *Conn) bool {
	if c.clientKnown {
		return true
	}
	c.clientKnown = true
	s.dismiss(c)
	return s.admit(c, c.Remote.Addr())
}

// remove closes c and undoes add. Then c is over, except that watch may still hold it.
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

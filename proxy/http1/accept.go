package http1

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"
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

// accept takes c over in a goroutine of its own, unless a limit is reached.
func (s *Server) accept(nc net.Conn, shard int) {
	c := &conn{server: s, shard: shard}
	c.wire.Init(nc)
	_, c.secure = nc.(*tls.Conn)
	if !s.add(c) {
		s.refused.Add(1)
		nc.Close()
		return
	}
	s.accepted.Add(1)
	go func() {
		defer c.contain()
		// Behind the PROXY protocol this waits for the first bytes.
		c.peer, c.local = addrOf(nc.RemoteAddr()), addrOf(nc.LocalAddr())
		if !s.countClient(c) {
			s.refused.Add(1)
			s.remove(c)
			return
		}
		t, _ := nc.(*tls.Conn)
		switch {
		case !c.secure:
			c.run()
		case c.handshake(t):
			go c.run() // on a stack that no handshake has grown
		default:
			c.finish()
			s.remove(c)
		}
	}()
}

// add counts c in, and reports whether the limit of all allows it.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.options.MaxConns > 0 && len(s.conns) >= s.options.MaxConns {
		return false
	}
	if q := s.options.Shared; q != nil && !q.Take(1, int64(s.options.MaxShared)) {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// countClient does the same for the limit of each client.
func (s *Server) countClient(c *conn) bool {
	limit := s.options.MaxConnsPerClient
	if limit == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(c.peer.Addr())
	if s.perClient[key] >= limit {
		return false
	}
	s.perClient[key]++
	c.counted = true
	return true
}

func (s *Server) remove(c *conn) {
	c.wire.End()
	if q := s.options.Shared; q != nil {
		q.Give(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.counted {
		key := keyOf(c.peer.Addr())
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

// Clients that have left, and instances that cannot be reached any more, are
// looked for among the exchanges that have been waiting for longer than
// patience: a fast request pays nothing. Each connection has its turn once in
// watchTurns ticks, so that thousands of events streams cost little.
const (
	watchEvery = 250 * time.Millisecond
	watchTurns = 3
	patience   = 100 * time.Millisecond
)

// watch ends what waits in vain, until end is closed: when no listener and no
// connection is left.
func (s *Server) watch(end <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var some []*conn
	for turn := 0; ; turn++ {
		select {
		case <-end:
			return
		case now := <-tick.C:
			some = s.whose(turn%watchTurns, some[:0])
			for _, c := range some {
				c.check(now)
			}
			clear(some)
		}
	}
}

// whose appends the connections whose turn it is.
func (s *Server) whose(turn int, to []*conn) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.shard%watchTurns == turn {
			to = append(to, c)
		}
	}
	return to
}

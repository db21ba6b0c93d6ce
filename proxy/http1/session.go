package http1

import (
	"time"

	"serai/proxy"
)

// session is what a connection needs while it has a request.
type session struct {
	proxy.Exchange
	body      requestBody
	answer    answer
	memoryUse proxy.MemoryUse
	received  bool // Handle has left to serve a request whose head is parsed

	heading   bool // the rest of the head is awaited; guarded by conn.mu, as the next field
	waitEnded bool // that wait was ended, to make room
}

func newSession() *session {
	s := &session{}
	s.Exchange.Body = &s.body
	s.Exchange.Responder = &s.answer
	return s
}

// begin takes a session for the request whose first bytes have come.
func (c *conn) begin() *session {
	s := c.engine.exchanges.Get().(*session)
	s.Reset()
	p := &c.front.Peer
	s.Peer, s.PeerText, s.Local, s.PortText = p.Remote, p.RemoteText, p.Local, p.PortText
	s.Secure, s.TLSVersion, s.ServerName, s.Shard = p.Secure, p.TLSVersion, p.ServerName, p.Shard
	s.answer.reset(c)
	s.Memory = p.Memory
	s.memoryUse.Begin(p.Memory, c.engine.proxy.RequestCost())
	c.mu.Lock()
	c.session, c.served, c.last = s, true, c.drained
	switch {
	case c.cut:
		s.CutOff(c.cutFor)
	case c.drained && c.wire.Interrupted():
		c.wire.Resume() // it arrived before the drain: it is answered completely
	}
	c.mu.Unlock()
	return s
}

// end ends the request, and returns how long the connection may wait for another.
func (c *conn) end(s *session) (wait time.Duration) {
	c.now = s.Now
	c.mu.Lock()
	c.session = nil
	wait = c.keepAlive()
	c.mu.Unlock()
	s.memoryUse.End(c.front.Memory)
	s.answer.release()
	s.body.release()
	c.engine.exchanges.Put(s)
	return wait
}

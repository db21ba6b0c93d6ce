package http1

import "serai/proxy"

// contain is deferred by every goroutine that serves a connection: a panic in
// this engine ends that connection and no other. Those while a request is
// carried are the proxy's, which knows what to give back.
func (c *conn) contain() {
	cause := recover()
	if cause == nil {
		return
	}
	c.mu.Lock()
	s := c.session
	c.session = nil // and not used again
	c.mu.Unlock()
	if s == nil {
		s = newSession()
		s.Peer, s.Client = c.peer, c.peer.Addr()
	}
	c.server.proxy.Panicked(cause, &s.Exchange)
	c.server.proxy.Count(proxy.ReasonPanic)
	c.wire.Abort()
	c.server.remove(c)
}

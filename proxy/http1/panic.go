package http1

import (
	"serai/front"
	"serai/proxy"
)

// contain is deferred by Serve: a panic in this engine ends this connection and no
// other. Panics while a request is forwarded are contained by the proxy, which knows
// what to release.
func (c *conn) contain(end *front.Ending) {
	cause := recover()
	if cause == nil {
		return
	}
	c.mu.Lock()
	s := c.session
	c.session, c.ended = nil, true // the session is not reused
	c.mu.Unlock()
	if s != nil {
		s.memoryUse.End(c.front.Memory)
	} else {
		s = newSession()
		s.Peer, s.Client = c.front.Remote, c.front.Remote.Addr()
	}
	c.engine.proxy.Panicked(cause, &s.Exchange)
	c.engine.proxy.Count(proxy.ReasonPanic)
	*end = front.Reset
}

package front

import (
	"errors"
	"net"
	"sync"
	"time"

	"serai/proxy"
)

var errHeaderCut = errors.New("it has no end")

// brokenHeader returns what is wrong with the PROXY header at the beginning of a
// connection; nil where it has none, or one that is right. RemoteAddr must have been called.
func brokenHeader(nc net.Conn) error {
	for {
		if p, ok := nc.(proxiedConn); ok {
			from, ok := p.Raw().(*headerConn)
			switch {
			case !ok || !from.claim || p.ProxyHeader() != nil:
				return nil
			case from.wrongSum:
				return errChecksum
			}
			if _, err := p.Read(nil); err != nil {
				return err
			}
			return errHeaderCut
		}
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = outer.NetConn()
	}
}

// brokenHeaderLogInterval is the time between two log lines about PROXY headers.
const brokenHeaderLogInterval = 10 * time.Second

// brokenHeaders are told of now and then: a load balancer that is set up in a wrong way
// sends them with each connection.
type brokenHeaders struct {
	mu        sync.Mutex
	told      time.Time
	notLogged int
}

// tell reports whether one is to be logged now, and how many were not since the last one.
func (b *brokenHeaders) tell(now time.Time) (notLogged int, tell bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.told) < brokenHeaderLogInterval {
		b.notLogged++
		return 0, false
	}
	notLogged, b.told, b.notLogged = b.notLogged, now, 0
	return notLogged, true
}

// refuseHeader counts and logs a connection whose PROXY header is wrong.
func (s *Server) refuseHeader(c *Conn, err error) {
	s.options.Count(proxy.ReasonProxyHeader)
	if notLogged, now := s.broken.tell(time.Now()); now {
		s.options.Logger.Warn("a connection was closed, because its PROXY header is wrong",
			"peer", c.Remote.Addr(), "listener", c.Local, "error", err, "not_logged", notLogged)
	}
}

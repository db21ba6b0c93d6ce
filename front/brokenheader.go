package front

import (
	"errors"
	"net"
	"time"

	"serai/proxy"
)

var errHeaderCut = errors.New("it has no end")

// brokenHeader returns what is wrong with the PROXY header at the beginning of a
// connection; nil where it has none, or one that is right. RemoteAddr must have been called.
func brokenHeader(nc net.Conn) error {
	for c := range layers(nc) {
		p, ok := c.(proxiedConn)
		if !ok {
			continue
		}
		switch from, ok := p.Raw().(*headerConn); {
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
	return nil
}

// brokenHeaderLogInterval is the time between two log lines about PROXY headers: a load
// balancer that is set up in a wrong way sends them with each connection.
const brokenHeaderLogInterval = 10 * time.Second

// refuseHeader counts and logs a connection whose PROXY header is wrong.
func (s *Server) refuseHeader(c *Conn, err error) {
	s.options.Count(proxy.ReasonProxyHeader)
	if notLogged, now := s.broken.Take(time.Now(), brokenHeaderLogInterval); now {
		s.options.Logger.Warn("a connection was closed, because its PROXY header is wrong",
			"peer", c.Remote.Addr(), "listener", c.Local, "error", err, "not_logged", notLogged)
	}
}

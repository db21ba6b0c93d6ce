package http2

import (
	"serai/wire/http2"
)

// maxDiscard is how much of a request's body that nobody wants is let come, in bytes, as
// over HTTP/1: some clients do not read an answer whose stream is reset while they send.
const maxDiscard = 256 << 10

// discards lets the rest of a body come whose request is answered, where that is known to
// be small, and reports whether it does. C.mu is held.
func (s *stream) discards() bool {
	rest := s.declared - s.received
	if s.declared < 0 || rest > maxDiscard || s.bodyErr != nil {
		return false
	}
	c := s.conn
	if more := rest - s.inWindow; more > 0 {
		c.out = http2.AppendWindowUpdate(c.out, s.id, uint32(more))
	}
	if c.discarding == nil {
		c.discarding = make(map[uint32]int64)
	}
	c.discarding[s.id] = rest
	return true
}

// discard takes n bytes of a body that nobody wants, the last ones or not, and reports
// whether the client may send them. C.mu is held.
func (c *conn) discard(id uint32, n int64, last bool) bool {
	rest, ok := c.discarding[id]
	switch {
	case !ok || n > rest:
		delete(c.discarding, id)
		return false
	case last:
		delete(c.discarding, id)
	default:
		c.discarding[id] = rest - n
	}
	return true
}

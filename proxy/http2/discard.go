package http2

import (
	"serai/wire/http2"
)

// maxDiscard is how many bytes of an unwanted request body the client may still send,
// as over HTTP/1: some clients do not read an answer whose stream is reset while they
// send.
const maxDiscard = 256 << 10

// discards lets the client send the rest of the body of an answered request, if that is
// known to be small, and reports whether it does. c.mu is held.
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

// discard counts n bytes of an unwanted body, and reports whether the client may send
// them. Last says that the body ends with them, or that no more of it comes: whatever ends a
// stream of the client must say so, or it counts as open for good. c.mu is held.
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

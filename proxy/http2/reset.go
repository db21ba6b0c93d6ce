package http2

import (
	"slices"

	"serai/wire/http2"
)

// streamFault ends one stream because of an error that the client has caused. s is nil
// if it is not open. c.mu is held, and released meanwhile.
func (c *conn) streamFault(s *stream, id uint32, code http2.Code) error {
	c.reset(id, code)
	c.endStream(s, id)
	return c.countReset()
}

// endStream cancels the exchange of a stream. c.mu is held, and released meanwhile.
func (c *conn) endStream(s *stream, id uint32) {
	if s == nil || s.gone {
		return
	}
	s.gone, s.remoteEnd = true, true
	if s.bodyErr == nil {
		s.bodyErr = errClientGone
	}
	s.readable.Broadcast()
	c.room.Broadcast()
	c.mu.Unlock()
	defer c.mu.Lock()
	streamRef{s, id}.cancel(c)
}

// ignore records that frames of a stream are ignored: it was reset, and the client may
// not know yet. c.mu is held.
func (c *conn) ignore(id uint32) {
	if c.ignored == nil {
		c.ignored = new([64]uint32)
	}
	c.ignored[c.nIgnored%len(c.ignored)] = id
	c.nIgnored++
}

func (c *conn) isIgnored(id uint32) bool {
	return c.ignored != nil && slices.Contains(c.ignored[:], id)
}

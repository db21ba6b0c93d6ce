package http2

import (
	"slices"

	"serai/wire/http2"
)

// streamFault ends one stream for a fault of the client's. C.mu is held, and let go
// meanwhile. S is nil for one that is not open.
func (c *conn) streamFault(s *stream, id uint32, code http2.Code) error {
	c.reset(id, code)
	c.endStream(s, id)
	return c.countReset()
}

// endStream has the exchange of a stream end that is not to be carried on. C.mu is
// held, and let go meanwhile.
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
	named{s, id}.cancel(c)
}

// forget notes that frames of a stream are to be ignored: it was reset, and the client
// may not know. C.mu is held.
func (c *conn) forget(id uint32) {
	if c.unwanted == nil {
		c.unwanted = new([64]uint32)
	}
	c.unwanted[c.nUnwanted%len(c.unwanted)] = id
	c.nUnwanted++
}

func (c *conn) isUnwanted(id uint32) bool {
	return c.unwanted != nil && slices.Contains(c.unwanted[:], id)
}

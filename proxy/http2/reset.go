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

// mostCrossing bounds how many resets of answered streams may still come.
const mostCrossing = 1024

// resetAnswered resets a stream that is answered, and whose request has not ended. A client that
// has its answer may say so itself: its reset comes later. c.mu is held.
func (c *conn) resetAnswered(id uint32) {
	c.reset(id, http2.NoError)
	c.crossing = min(mostCrossing, c.crossing+1)
}

// The frames of so many streams that were reset are ignored: of as many as a client may have at
// once, since those of which it does not know yet count for it.
const leastIgnored, mostIgnored = 64, 1024

// ignored are the streams whose frames are ignored, the last ones.
type ignored struct {
	last []uint32
	n    int // of all that there ever were
}

// ignore records that frames of a stream are ignored: it was reset, and the client may
// not know yet. c.mu is held.
func (c *conn) ignore(id uint32) {
	if c.ignored == nil {
		c.ignored = &ignored{last: make([]uint32, min(max(leastIgnored, c.engine.options.MaxStreams), mostIgnored))}
	}
	c.ignored.last[c.ignored.n%len(c.ignored.last)] = id
	c.ignored.n++
}

func (c *conn) isIgnored(id uint32) bool {
	return c.ignored != nil && slices.Contains(c.ignored.last, id)
}

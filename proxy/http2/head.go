package http2

import (
	"errors"

	"serai/wire"
	"serai/wire/http2"
)

// beginBlock handles the header of HEADERS: a new stream, or the trailers of one.
func (c *conn) beginBlock(f *http2.Frame) error {
	c.ends = f.Has(http2.FlagEndStream)
	c.target, c.opening = nobodys{}, nil
	if f.Stream%2 == 0 {
		return errProtocol("a client's streams have odd numbers")
	}
	c.mu.Lock()
	known, state, full := f.Stream <= c.lastID, c.state, c.full()
	c.mu.Unlock()
	switch {
	case known:
		return c.beginAgain(f.Stream)
	case state >= closing:
		// It follows the last stream: the client opens it on another connection.
		c.ignoreStream(f.Stream)
	case f.Has(http2.FlagPriority) && f.Parent == f.Stream:
		return c.refuseStream(f.Stream, http2.ProtocolError)
	case full:
		c.engine.ended[CauseStreams].Add(1)
		return c.refuseStream(f.Stream, http2.RefusedStream)
	case !c.opens(f.Stream):
		c.ignoreStream(f.Stream)
	default:
		c.opening = c.engine.get(c, f.Stream)
		c.target = &c.opening.section
	}
	return nil
}

// beginAgain handles the header of HEADERS of a stream that was opened before: its
// trailers, or fields that nobody reads because serai has ended the stream.
func (c *conn) beginAgain(id uint32) error {
	c.mu.Lock()
	s := c.stream(id)
	isOpen, ended := s != nil && !s.gone, false
	if s != nil {
		ended = s.remoteEnd && (isOpen || s.byPeer)
	} else {
		ended = !c.discard(id, 0, true) && !c.isIgnored(id)
	}
	c.mu.Unlock()
	switch {
	case ended:
		return &http2.ConnError{Code: http2.StreamClosed, Detail: "HEADERS for a stream that has ended"}
	case isOpen:
		c.beginTrailers(id)
	}
	return nil
}

// refuseStream resets a stream that is not opened.
func (c *conn) refuseStream(id uint32, code http2.Code) error {
	c.ignoreStream(id)
	c.mu.Lock()
	c.reset(id, code)
	c.mu.Unlock()
	return c.countReset()
}

// opens records that a stream is opened, unless the client was told meanwhile that an
// earlier one was the last: then it opens this one on another connection.
func (c *conn) opens(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state >= closing {
		return false
	}
	c.lastID = id
	return true
}

// full reports whether the client has as many requests in flight as it may. A stream
// that both sides have ended does not count, although it may still be in the table: the
// client may have seen its end already. c.mu is held.
func (c *conn) full() bool {
	most := c.engine.options.MaxStreams
	n := len(c.discarding)
	if len(c.streams)+n < most {
		return false
	}
	for _, s := range c.streams {
		if s.gone || !s.localEnd || !s.remoteEnd {
			n++
		}
	}
	return n >= most
}

// ignoreStream records a stream that is not opened.
func (c *conn) ignoreStream(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID = max(c.lastID, id)
	c.ignore(id)
}

// fragment decodes a part of a block.
func (c *conn) fragment(p []byte, last bool) error {
	err := c.decoder.Take(p, last, c.target)
	if err == http2.ErrHeadLong {
		return errLimit(CauseHead, "a head is longer than it may be")
	}
	return err
}

// endBlock handles the head or the trailers of a stream, which are complete.
func (c *conn) endBlock(id uint32) error {
	if err := c.fragment(nil, true); err != nil {
		return err
	}
	c.returnBlock()
	if s := c.opening; s != nil {
		err := c.open(s, id)
		c.opening = nil
		return err
	}
	if c.trailers == nil || c.trailersOf != id { // nobody wants it
		return nil
	}
	defer c.endTrailers()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stream(id)
	if s == nil || s.gone || s.remoteEnd { // nobody needs it any more
		c.discard(id, 0, true) // possibly answered within this block
		return nil
	}
	if !c.ends {
		return c.streamFault(s, id, http2.ProtocolError)
	}
	fields, err := c.trailers.Trailers(s.trailers[:0])
	switch {
	case err != nil:
		s.bodyErr = err
	case s.declared >= 0 && s.received != s.declared:
		return c.streamFault(s, id, http2.ProtocolError)
	}
	// The section is reused for the next head.
	for i := range fields {
		fields[i].Name, fields[i].Value = s.keep(fields[i].Name), s.keep(fields[i].Value)
	}
	s.trailers, s.remoteEnd = fields, true
	s.readable.Broadcast()
	return nil
}

// admit takes memory for a request. If the connection has other requests, it stops at
// the threshold for new connections, which the request would need for itself in HTTP/1:
// the rest is for clients that have no request in flight.
func (c *conn) admit(s *stream) bool {
	by := c.front.Memory
	c.mu.Lock()
	first := len(c.streams) == 0
	c.mu.Unlock()
	return (first || !by.RunsOut(13)) && s.memoryUse.Begin(by, c.engine.proxy.RequestCost())
}

// open begins a stream whose head is complete.
func (c *conn) open(s *stream, id uint32) error {
	s.begin(c.now)
	err := s.section.Request(&s.Head, !c.ends)
	if err == nil && !c.admit(s) {
		err = wire.ErrOverloaded
	}
	s.remoteEnd = c.ends
	if err == nil {
		s.declare()
	}
	errors.As(err, &s.refused)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.window = c.peerWindow
	s.initial, s.inWindow = c.initial.size, c.initial.size
	s.prioritize()
	c.streams[id], c.recent = s, s
	if !c.ends {
		c.adaptWindow() // also the window of this stream
	}
	c.updates = min(maxUpdates, c.updates+2) // some clients open the window of each stream
	c.engine.open.Add(1)
	c.start(s)
	if s.refused != nil && s.refused.Status != 503 {
		return c.countReset()
	}
	return nil
}

package http2

import (
	"serai/wire/http2"
)

// A DATA frame of a byte costs nearly as much as one of hundreds. No message of gRPC, and
// none of a WebSocket's client, is shorter than tinyData. Of shorter frames tinyEach are
// counted as one that carries nothing: some programs write a small body byte by byte.
const (
	tinyData = 5
	tinyEach = 256
)

// beginData handles the header of a DATA frame.
func (c *conn) beginData(f *http2.Frame) error {
	n := f.Content
	c.into = nil
	if n == 0 && !f.Has(http2.FlagEndStream) || f.Length > 2*n+1 && f.Has(http2.FlagPadded) {
		if err := c.control(1); err != nil {
			return err
		}
	} else if n < tinyData && !f.Has(http2.FlagEndStream) {
		if c.tiny++; c.tiny%tinyEach == 0 {
			if err := c.control(1); err != nil {
				return err
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, size := c.stream(f.Stream), int64(f.Length)
	if f.Stream > c.lastID {
		return errProtocol("DATA for a stream that is not open")
	}
	if err := c.useWindow(size); err != nil {
		return err
	}
	switch {
	case s == nil || s.gone:
		c.giveBack(size)
		if s == nil && c.discard(f.Stream, int64(n), f.Has(http2.FlagEndStream)) {
			return nil
		}
		if s != nil && s.byPeer || s == nil && !c.isIgnored(f.Stream) {
			return c.streamFault(nil, f.Stream, http2.StreamClosed)
		}
		return nil
	case s.remoteEnd:
		c.giveBack(size)
		return c.streamFault(s, f.Stream, http2.StreamClosed)
	}
	s.inWindow -= size
	s.received += int64(n)
	s.memoryUse.Received(n)
	switch {
	case s.inWindow < 0:
		c.giveBack(size)
		return c.streamFault(s, f.Stream, http2.FlowControlError)
	case s.declared >= 0 && s.received > s.declared:
		c.giveBack(size)
		return c.streamFault(s, f.Stream, http2.ProtocolError)
	}
	c.giveBack(size - int64(n))
	s.consumed += size - int64(n) // padding is given back together with the rest
	if s.inWindow < smallWindow && s.consumed > 0 && !f.Has(http2.FlagEndStream) {
		s.reopen() // otherwise the client could not send what serai waits for
	}
	c.into = s
	return nil
}

// data handles a part of the payload of a DATA frame.
func (c *conn) data(f *http2.Frame, b []byte) {
	if c.into == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stream(f.Stream)
	if s == c.into && !s.gone && (!s.localEnd || s.tunnel) {
		b = s.store(b)
		s.readable.Broadcast()
	}
	if len(b) > 0 {
		c.giveBack(int64(len(b)))
	}
}

// endData handles the end of a DATA frame.
func (c *conn) endData(f *http2.Frame) error {
	if !f.Has(http2.FlagEndStream) || c.into == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stream(f.Stream)
	if s != c.into || s.gone {
		c.discard(f.Stream, 0, true) // possibly answered within this frame
		return nil
	}
	if s.declared >= 0 && s.received != s.declared {
		return c.streamFault(s, f.Stream, http2.ProtocolError)
	}
	s.remoteEnd = true
	s.readable.Broadcast()
	return nil
}

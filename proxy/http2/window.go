package http2

import (
	"serai/wire/http2"
)

// windowUpdate handles WINDOW_UPDATE, for the connection (stream 0) or for a stream.
func (c *conn) windowUpdate(id, n uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &c.window
	s := c.stream(id)
	switch {
	case id == 0:
	case id > c.lastID:
		return errProtocol("WINDOW_UPDATE for a stream that is not open")
	case s == nil: // it has ended, perhaps before the client has read what came
		w = nil
	default:
		w = &s.window
	}
	// A client that accepts a few bytes at a time would get many small frames, and a client
	// needs no more updates than it gets data: both are counted.
	if w != nil && *w < smallWindow && n < smallWindow || c.updates == 0 {
		if err := c.control(1); err != nil {
			return err
		}
	}
	c.updates = max(0, c.updates-1)
	if w == nil {
		return nil
	}
	*w += int64(n)
	switch {
	case n > 0 && *w <= http2.MaxWindow:
		if c.waiting > 0 {
			c.room.Broadcast()
		}
		return nil
	case id == 0 && n == 0:
		return errProtocol("a window is updated by nothing")
	case id == 0:
		return &http2.ConnError{Code: http2.FlowControlError, Detail: "a window is too large"}
	case n == 0:
		return c.streamFault(s, id, http2.ProtocolError)
	}
	return c.streamFault(s, id, http2.FlowControlError)
}

// smallWindow is the size below which a window counts as used up.
const smallWindow = 1024

// maxUpdates bounds how many WINDOW_UPDATEs a client may save up. Go's client has two for every
// 4 KiB, and windows of 4 MiB: this is enough for 128 streams of which it has all and has read
// nothing.
const maxUpdates = 1 << 18

// updatesOf returns how many WINDOW_UPDATEs a client may send for n bytes of DATA: for
// the stream and for the connection, and some for every kilobyte.
func updatesOf(n int) int64 { return 2 + int64(n)>>9 }

// resizeWindows changes the initial window of streams, and the windows of all current
// streams by the difference (RFC 9113 section 6.9.2). c.mu is held.
func (c *conn) resizeWindows(size int64) error {
	change := size - c.peerWindow
	c.peerWindow = size
	for _, s := range c.streams {
		if s.window += change; s.window > http2.MaxWindow {
			return &http2.ConnError{Code: http2.FlowControlError, Detail: "a window is too large"}
		}
	}
	c.room.Broadcast()
	return nil
}

// windowUsed reports whether the client can send no more than a few bytes of any body:
// all requests of the connection share its window. c.mu is held.
func (c *conn) windowUsed() bool { return c.inWindow < smallWindow }

// useWindow takes n bytes of the connection's window, and wakes the goroutines that
// wait for a body if it is then used up. c.mu is held.
func (c *conn) useWindow(n int64) error {
	before := c.windowUsed()
	if c.inWindow -= n; c.inWindow < 0 {
		return &http2.ConnError{Code: http2.FlowControlError, Detail: "more was sent than the window allows"}
	}
	if !before && c.windowUsed() {
		for _, s := range c.streams {
			s.readable.Broadcast()
		}
	}
	return nil
}

// giveBack gives n bytes back to the connection's window: in large steps, unless the
// client waits for them. c.mu is held.
func (c *conn) giveBack(n int64) {
	c.credit += n
	if c.credit >= int64(c.engine.options.ConnWindow)/2 || c.credit >= http2.InitialWindow/2 || c.windowUsed() && c.credit >= smallWindow {
		c.inWindow += c.credit
		c.out = http2.AppendWindowUpdate(c.out, 0, uint32(c.credit))
		c.credit = 0
	}
}

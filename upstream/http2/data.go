package http2

import (
	"fmt"
	"time"

	"serai/internal/memory"
	"serai/wire/http2"
)

// beginData counts a DATA frame, with its padding, against the windows (RFC 9113
// section 6.9).
func (r *reader) beginData(f *http2.Frame) error {
	c := r.conn
	if f.Stream%2 == 0 || f.Stream >= c.next {
		return &http2.ConnError{Code: http2.ProtocolError, Detail: "a body is of a stream that was not begun"}
	}
	if c.window -= f.Length; c.window < 0 {
		return &http2.ConnError{Code: http2.FlowControlError, Detail: "it sends more than the connection's window"}
	}
	if c.credit += f.Length; c.credit >= connWindow/2 {
		c.answer(http2.AppendWindowUpdate(c.out, 0, uint32(c.credit)))
		c.window, c.credit = c.window+c.credit, 0
	}
	s := c.stream(f.Stream)
	if s == nil || f.Content == 0 && !f.Has(http2.FlagEndStream) {
		if err := c.noisy(); s == nil || err != nil {
			return err
		}
	}
	switch {
	case !s.final, s.gotEnd:
		c.refuse(s, errOrder, http2.ProtocolError)
	case f.Length > s.window:
		c.refuse(s, errFlowControl, http2.FlowControlError)
	default:
		s.window -= f.Length
		s.consume(f.Length - f.Content) // padding and its length
	}
	return nil
}

// data handles bytes of a stream's body.
func (r *reader) data(id uint32, p []byte) error {
	c := r.conn
	s := c.stream(id)
	switch {
	case s == nil:
		return nil // nobody needs them
	case s.bodiless:
		c.refuse(s, errUnasked, http2.ProtocolError)
		return nil
	case s.length >= 0 && s.came+int64(len(p)) > s.length:
		c.refuse(s, errLength, http2.ProtocolError)
		return nil
	}
	s.came += int64(len(p))
	s.body.put(p)
	s.wake()
	s.brought = c.heard
	if s.enlarged || s.length >= 0 && s.length <= smallWindow {
		return nil
	}
	if c.heard.Sub(s.since) > worthWithin {
		s.since, s.recent = c.heard, 0
	}
	if s.recent += len(p); s.recent > worthIt {
		s.enlarge()
	}
	return nil
}

// enlarge gives the instance a larger window, once, if there is memory for what it may
// then send. c.mu is held.
func (s *stream) enlarge() {
	s.enlarged = true
	if !s.memory.Take(memory.Buffers, largeWindow) {
		return
	}
	s.reserved = largeWindow
	s.body.enlarge()
	s.conn.reader.bulk = true
	s.consume(largeWindow - smallWindow)
}

// rest releases the buffer of a silent stream. c.mu is held.
func (s *stream) rest(now time.Time) {
	if now.Sub(s.brought) >= restAfter {
		s.body.rest()
	}
}

// consume reopens the stream's window by n bytes, as soon as it is worth a frame. c.mu
// is held.
func (s *stream) consume(n int) {
	s.credit += n
	size := smallWindow
	if s.reserved > 0 {
		size = largeWindow
	}
	if s.credit < size/2 || s.gotEnd || s.over {
		return
	}
	s.conn.answer(http2.AppendWindowUpdate(s.conn.out, s.id, uint32(s.credit)))
	s.window, s.credit = s.window+s.credit, 0
}

// ended handles the end of a stream, sent by the instance. c.mu is held.
func (c *conn) ended(id uint32) {
	s := c.stream(id)
	if s == nil || s.gotEnd {
		return
	}
	if !s.final {
		c.refuse(s, errOrder, http2.ProtocolError)
		return
	}
	if s.length >= 0 && s.came != s.length && !s.bodiless {
		c.refuse(s, errLength, http2.ProtocolError)
		return
	}
	s.gotEnd = true
	s.closeIfOver()
	s.wake()
}

// refuse ends a stream whose answer is not accepted. c.mu is held.
func (c *conn) refuse(s *stream, err error, code http2.Code) {
	c.reset(s, code)
	s.fail(err)
}

// wasReset ends a stream that the instance has reset. c.mu is held.
func (c *conn) wasReset(id uint32, code http2.Code) error {
	s := c.stream(id)
	if s == nil {
		return nil // already counted by noisy
	}
	if s.gotEnd && code == http2.NoError {
		// It has answered, and does not need the rest of the request (RFC 9113 section 8.1).
		s.stopSending()
		s.close()
		return nil
	}
	s.fail(&resetError{code})
	return nil
}

// windowUpdate handles WINDOW_UPDATE for the connection (stream 0) or a stream. c.mu is
// held.
func (c *conn) windowUpdate(id uint32, n int64) error {
	if id == 0 {
		if n == 0 || c.sendWindow+n > http2.MaxWindow {
			return &http2.ConnError{Code: http2.FlowControlError, Detail: "the connection's window is 0 more, or larger than windows may be"}
		}
		c.sendWindow += n
		c.wakeUploads()
		return nil
	}
	s := c.stream(id)
	if s == nil {
		return nil
	}
	if n == 0 || s.sendWindow+n > http2.MaxWindow {
		c.refuse(s, errFlowControl, http2.FlowControlError)
		return nil
	}
	s.sendWindow += n
	s.wakeUpload()
	return nil
}

// goneAway handles GOAWAY: streams above last were not processed, and no new ones are
// accepted (RFC 9113 section 6.8). c.mu is held.
func (c *conn) goneAway(last uint32, code http2.Code) {
	if c.gone = errGoAway; code != http2.NoError {
		c.gone = fmt.Errorf("%w: %s", errGoAway, code)
	}
	if c.state == opening { // it will allow no streams any more
		c.fail(c.gone)
	}
	c.retire()
	for id, s := range c.streams {
		if id > last {
			s.fail(c.gone)
		}
	}
}

// settingsCame acknowledges the instance's settings. A connection remains opening as long as
// they allow no streams, which they should only for a while (RFC 9113 section 6.5.2). c.mu is
// held.
func (c *conn) settingsCame() {
	c.answer(http2.AppendHeader(c.out, 0, http2.SettingsFrame, http2.FlagAck, 0))
	if c.state == opening && c.peer.maxStreams > 0 {
		c.state, c.greeted = open, true
		close(c.ready)
	}
}

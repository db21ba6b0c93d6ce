package http2

import (
	"time"

	"serai/wire/http2"
)

// frames is a connection as the receiver of its frames. Only the goroutine that reads
// calls it.
type frames conn

var _ http2.Events = (*frames)(nil)

// Begin handles the header of a frame.
func (r *frames) Begin(f *http2.Frame) error {
	c := (*conn)(r)
	switch f.Type {
	case http2.Data:
		return c.beginData(f)
	case http2.Headers:
		return c.beginBlock(f)
	case http2.Continuation:
		if f.Content < 16 && !f.Has(http2.FlagEndHeaders) {
			return c.control(1)
		}
	case http2.SettingsFrame:
		return c.control(1 + f.Length/64)
	case http2.GoAway:
		return c.control(1)
	case http2.Priority:
		if f.Parent == f.Stream {
			return errProtocol("a stream depends on itself")
		}
		return c.control(1)
	case http2.RSTStream, http2.Ping, http2.WindowUpdate: // counted by their methods below
	default:
		return c.control(1)
	}
	return nil
}

// Data handles bytes of a body.
func (r *frames) Data(f *http2.Frame, p []byte) error {
	(*conn)(r).data(f, p)
	return nil
}

// Fragment handles a part of a head or of trailers.
func (r *frames) Fragment(_ *http2.Frame, p []byte) error { return (*conn)(r).fragment(p, false) }

// Setting handles one of the client's settings.
func (r *frames) Setting(s http2.Setting) error {
	c := (*conn)(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s.ID {
	case http2.HeaderTableSize:
		c.resized = true
	case http2.MaxFrameSize:
		c.frame = http2.FrameSize // larger frames would delay other streams
	case http2.InitialWindowSize:
		return c.resizeWindows(int64(s.Value))
	}
	return nil
}

// Ping answers a PING.
func (r *frames) Ping(f *http2.Frame, data [8]byte) error {
	c := (*conn)(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Has(http2.FlagAck) {
		if data == drainPing {
			c.drained()
		}
		return c.control(1)
	}
	// gRPC clients send a PING after data, to measure the bandwidth. That one is free.
	if !c.sent {
		if err := c.control(1); err != nil {
			return err
		}
	}
	c.sent = false
	c.out = http2.AppendPing(c.out, http2.FlagAck, data)
	return nil
}

// oldStream is the age from which on the reset of a stream is not counted. There can be
// no more of these per second than the client may have streams at once. They are for
// example gRPC calls whose deadline has passed while an instance hangs.
const oldStream = time.Second

// Reset handles RST_STREAM.
func (r *frames) Reset(id uint32, _ http2.Code) error {
	c := (*conn)(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if id > c.lastID {
		return errProtocol("RST_STREAM for a stream that is not open")
	}
	if c.discard(id, 0, true) {
		return nil // it has its answer, and need not send the rest of the body
	}
	if s := c.stream(id); s != nil {
		free := c.now.Sub(s.Start) >= oldStream || s.localEnd && !s.gone
		s.byPeer = true
		if c.endStream(s, id); free {
			return nil
		}
	} else if c.crossing > 0 {
		c.crossing--
		return nil
	}
	return c.countReset()
}

// Window handles WINDOW_UPDATE.
func (r *frames) Window(id, more uint32) error { return (*conn)(r).windowUpdate(id, more) }

// GoAway ends the connection after its current streams.
func (r *frames) GoAway(uint32, http2.Code) error {
	c := (*conn)(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state < closing {
		c.state = closing
	}
	c.mayEnd()
	return nil
}

// Reprioritize handles PRIORITY_UPDATE.
func (r *frames) Reprioritize(id uint32, value []byte) error {
	(*conn)(r).reprioritize(id, value)
	return nil
}

// End handles the end of a frame.
func (r *frames) End(f *http2.Frame) error {
	c := (*conn)(r)
	switch f.Type {
	case http2.Data:
		return c.endData(f)
	case http2.Headers, http2.Continuation:
		if f.Has(http2.FlagEndHeaders) {
			return c.endBlock(f.Stream)
		}
	case http2.SettingsFrame:
		c.mu.Lock()
		if f.Has(http2.FlagAck) {
			c.windowAcked()
		} else {
			c.out = http2.AppendHeader(c.out, 0, http2.SettingsFrame, http2.FlagAck, 0)
		}
		c.mu.Unlock()
	}
	return nil
}

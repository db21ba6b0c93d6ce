package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"serai/wire/http2"
)

// reader handles what an instance sends. Only the goroutine that reads the connection
// uses it, with c.mu held.
type reader struct {
	conn    *conn
	bulk    bool // a large read buffer is useful
	frames  http2.FrameReader
	decoder http2.Block
	block   block
}

func (r *reader) init(c *conn) {
	r.conn = c
	r.decoder = http2.NewBlock(c.limits.Head, c.limits.Head+http2.FrameSize)
}

// read reads until the connection ends.
func (c *conn) read() {
	var err error
	for err == nil {
		if err = c.Fill(); err == nil {
			err = c.takeAll()
		}
	}
	if err == io.EOF { // callers take io.EOF for the proper end of a body
		err = errCut
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var broken *http2.ConnError
	if errors.As(err, &broken) && c.state != dead {
		c.sayWhy(broken.Code)
		err = fmt.Errorf("the instance broke HTTP/2: %w", broken)
	}
	c.fail(err)
}

// takeAll parses the bytes that have come.
func (c *conn) takeAll() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.take(c.Buffered()); err != nil {
		return err
	}
	c.Discard(len(c.Buffered()))
	c.flushSoon()
	switch {
	case c.state == dead:
		return c.err
	case c.answers > mostAnswers:
		return errNoise
	case c.taken == 0:
		c.reader.bulk = false
		c.Release()
	case c.reader.bulk:
		c.Enlarge()
	}
	return nil
}

// sayWhy tells the instance what it has done wrong, and waits until that is written,
// but not long. c.mu is held, and released while it waits.
func (c *conn) sayWhy(code http2.Code) {
	const most = time.Second
	c.add(http2.AppendGoAway(c.out, 0, code, ""))
	c.flushSoon()
	if !c.flushing {
		return
	}
	flushed := make(chan struct{})
	c.flushed = flushed
	c.mu.Unlock()
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-flushed:
	case <-late.C:
	}
	c.mu.Lock()
}

// take parses bytes that have come.
func (c *conn) take(b []byte) error {
	c.heard, c.silent = time.Now(), false
	err := c.reader.frames.Take(b, &c.reader)
	if err == http2.ErrFirstFrame {
		return notHTTP2(c.reader.frames.Seen())
	}
	return err
}

// notHTTP2 says what other protocol an instance seems to speak.
func notHTTP2(b []byte) error {
	switch {
	case bytes.HasPrefix(b, []byte("HTTP/1.")[:min(len(b), 7)]):
		return fmt.Errorf("%w: it answers in HTTP/1", errNotHTTP2)
	case b[0] == 0x15 || b[0] == 0x16:
		return fmt.Errorf("%w: it speaks TLS", errNotHTTP2)
	}
	return fmt.Errorf("%w: it does not begin with SETTINGS", errNotHTTP2)
}

var _ http2.Events = (*reader)(nil)

// Begin handles the header of a frame.
func (r *reader) Begin(f *http2.Frame) error {
	c := r.conn
	switch f.Type {
	case http2.Data:
		c.answered = c.heard
		return r.beginData(f)
	case http2.Headers:
		c.answered = c.heard
		return r.beginBlock(f)
	case http2.WindowUpdate, http2.RSTStream:
		if f.Stream != 0 && f.Stream >= c.next {
			return &http2.ConnError{Code: http2.ProtocolError, Detail: "a frame is of a stream that was not begun"}
		}
	case http2.PriorityUpdate:
		return &http2.ConnError{Code: http2.ProtocolError, Detail: "it tells us priorities, which are ours to tell"}
	}
	return c.noisy()
}

// Data handles bytes of a body.
func (r *reader) Data(f *http2.Frame, p []byte) error { return r.data(f.Stream, p) }

// Fragment handles a part of a header block.
func (r *reader) Fragment(_ *http2.Frame, p []byte) error {
	return r.decoder.Take(p, false, (*fields)(r))
}

// Setting handles one of the instance's settings.
func (r *reader) Setting(s http2.Setting) error {
	if err := r.conn.noisy(); err != nil {
		return err
	}
	return r.conn.set(s)
}

// Ping answers a PING.
func (r *reader) Ping(f *http2.Frame, data [8]byte) error {
	if !f.Has(http2.FlagAck) {
		r.conn.answer(http2.AppendPing(r.conn.out, http2.FlagAck, data))
	}
	return nil
}

// Reset handles RST_STREAM.
func (r *reader) Reset(stream uint32, code http2.Code) error { return r.conn.wasReset(stream, code) }

// Window handles WINDOW_UPDATE.
func (r *reader) Window(stream, more uint32) error { return r.conn.windowUpdate(stream, int64(more)) }

// GoAway handles GOAWAY.
func (r *reader) GoAway(last uint32, code http2.Code) error {
	r.conn.goneAway(last, code)
	return nil
}

// Reprioritize is never called: see Begin.
func (r *reader) Reprioritize(uint32, []byte) error { return nil }

// End handles the end of a frame.
func (r *reader) End(f *http2.Frame) error {
	switch f.Type {
	case http2.Data:
		if f.Has(http2.FlagEndStream) {
			r.conn.ended(f.Stream)
		}
	case http2.Headers, http2.Continuation:
		if f.Has(http2.FlagEndHeaders) {
			return r.endBlock()
		}
	case http2.SettingsFrame:
		if !f.Has(http2.FlagAck) {
			r.conn.settingsCame()
		}
	}
	return nil
}

package http2

import (
	"errors"
	"time"

	"serai/internal/memory"
	"serai/wire/http2"
)

// reader is the state of the goroutine that reads a connection.
type reader struct {
	began   bool   // Serve was called
	counted bool   // its memory was taken
	quiet   bool   // silent for longer than parkAfter
	tiny    uint32 // DATA frames of fewer than tinyData bytes
	now     time.Time

	preface int // bytes of the preface that have come
	frames  http2.FrameReader

	decoder    http2.Block
	blockHeld  int64           // bytes of memory that the decoder has
	ends       bool            // the stream ends with the block that is coming
	trailersOf uint32          // the stream whose trailers are coming, 0 for an ignored one
	target     http2.Collector // of the block that is coming
	opening    *stream         // the stream whose head is coming; nil for trailers or an ignored head
	trailers   *http2.Section  // the last trailers, nil until there are any

	into     *stream       // the stream whose DATA is coming; nil if it is ignored
	credit   int64         // bytes to be given back to the connection's window; guarded by conn.mu, as the next field
	inWindow int64         // bytes that the client may still send
	initial  initialWindow // window of new streams
	ignored  *ignored      // nil until there are any streams to be ignored
	crossing int           // resets of answered streams that may still come: see resetAnswered; guarded by conn.mu

	// discarding has the answered streams whose body the client still sends, and how
	// many bytes may still come; guarded by conn.mu.
	discarding map[uint32]int64

	resets   bucket
	controls bucket
}

// maxBlock bounds a block, as a multiple of the head limit: what exceeds the head limit
// is decoded only to keep the table in step.
const maxBlock = 4

// Handle handles all bytes that have come. It is called within the wait for more.
func (c *conn) Handle() (more bool) {
	c.now, c.quiet = time.Now(), false
	b := c.wire.Buffered()
	err := c.take(b)
	c.wire.Discard(len(b))
	c.mu.Lock()
	c.heard, c.looked = c.now, false
	switch waits := c.preface < len(http2.Preface) || c.frames.Midway(); {
	case !waits:
		c.partial = time.Time{}
	case c.partial.IsZero():
		c.partial = c.now
	}
	c.large = c.blockHeld > 0 || c.opening != nil && c.opening.section.Large()
	if err == nil && len(c.out) > outSize+maxControls {
		c.mu.Unlock()
		err = errLimit(CauseControls, "answers to frames are not read")
		c.mu.Lock()
	}
	c.flushSoon()
	more = c.state < ending
	c.mu.Unlock()
	if err != nil {
		c.failed(err)
		return false
	}
	if more {
		c.wire.ReadAbout(c.now, parkAfter)
	}
	return more
}

// take parses bytes that have come.
func (c *conn) take(b []byte) error {
	if c.preface < len(http2.Preface) {
		n := min(len(b), len(http2.Preface)-c.preface)
		if string(b[:n]) != http2.Preface[c.preface:c.preface+n] {
			return errProtocol("the connection does not begin with the preface")
		}
		c.preface += n
		b = b[n:]
	}
	return c.frames.Take(b, (*frames)(c))
}

// failed ends the connection because of an error that the client has caused.
func (c *conn) failed(err error) {
	var limit *limitError
	var fault *http2.ConnError
	switch {
	case errors.As(err, &limit):
		c.fail(limit.cause, limit.Code, limit.Detail)
	case errors.As(err, &fault):
		c.fail(CauseProtocol, fault.Code, fault.Detail)
	}
}

// greet appends the settings before anything else is written (RFC 9113 section 3.4): a
// drain, or a refusal for lack of memory, may come before Serve.
func (c *conn) greet() {
	o := &c.engine.options
	c.beginWindow()
	c.out = http2.AppendSettings(c.out,
		http2.Setting{ID: http2.MaxConcurrentStreams, Value: uint32(o.MaxStreams)},
		http2.Setting{ID: http2.InitialWindowSize, Value: uint32(c.initial.announced)},
		http2.Setting{ID: http2.MaxHeaderListSize, Value: uint32(o.Limits.Head)},
		http2.Setting{ID: http2.EnableConnect, Value: 1},
		http2.Setting{ID: http2.NoRFC7540Priorities, Value: 1})
	if c.credit > 0 {
		c.out = http2.AppendWindowUpdate(c.out, 0, uint32(c.credit))
	}
	c.credit = 0
	c.inWindow = int64(o.ConnWindow)
}

// dropBlock releases the memory of an incomplete head.
func (c *conn) dropBlock() {
	if s := c.opening; s != nil {
		c.opening = nil
		if s.conn == c { // it was not opened
			c.engine.put(s)
		}
	}
	c.decoder.Drop()
	c.returnBlock()
}

// takeBlock takes memory for a block of which a large part is not decoded yet.
func (c *conn) takeBlock() bool {
	n := int64(c.decoder.MaxKept())
	if !c.front.Memory.Take(memory.Buffers, n) {
		return false
	}
	c.blockHeld = n
	return true
}

// returnBlock gives that memory back when it is not needed any more.
func (c *conn) returnBlock() {
	if c.blockHeld > 0 && !c.decoder.Large() {
		c.front.Memory.Give(memory.Buffers, c.blockHeld)
		c.blockHeld = 0
	}
}

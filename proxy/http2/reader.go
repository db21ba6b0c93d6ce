package http2

import (
	"errors"
	"time"

	"serai/internal/memory"
	"serai/wire/http2"
)

// reader is what the goroutine that reads a connection keeps.
type reader struct {
	began   bool // Serve has been called
	paid    bool // for its memory
	settled bool // it has been silent for a while
	now     time.Time

	preface int // bytes of it that have come
	frames  http2.FrameReader

	decoder    http2.Block
	blockHeld  int64           // bytes of memory that it has
	ends       bool            // the stream whose block is coming, with that
	trailersOf uint32          // the stream whose trailers are coming, 0 for nobody's
	target     http2.Collector // of the block that is coming
	opening    *stream         // whose head it is, nil for trailers or nobody's
	trailers   *http2.Section  // the last ones, nil until there are any

	into      *stream     // whose DATA is coming, nil for nobody's
	credit    int64       // of the connection's window, to be given back; guarded by conn.mu, as is the next
	inWindow  int64       // that is left to the client
	first     firstWindow // of a stream
	unwanted  *[64]uint32 // streams, nil until there are any
	nUnwanted int

	// discarding has the streams that are answered while the client sends, and how many
	// bytes of the body may still come; guarded by conn.mu.
	discarding map[uint32]int64

	resets   bucket
	controls bucket
}

// maxBlock bounds a block by so many times the head limit: what is beyond the limit is
// decoded for the sake of the table alone.
const maxBlock = 4

// Handle takes all that has come. It is called within the wait for more.
func (c *conn) Handle() (more bool) {
	c.now, c.settled = time.Now(), false
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
		err = errCalm(CauseControls, "answers to frames are not read")
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
		c.wire.ReadAbout(c.now, settles)
	}
	return more
}

// take takes what has come.
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

// failed ends the connection for a fault of the client's.
func (c *conn) failed(err error) {
	var limit *calm
	var fault *http2.ConnError
	switch {
	case errors.As(err, &limit):
		c.fail(limit.cause, limit.Code, limit.Detail)
	case errors.As(err, &fault):
		c.fail(CauseProtocol, fault.Code, fault.Detail)
	}
}

// greet makes the settings the first that will be written (RFC 9113 section 3.4): a drain,
// or the end for want of memory, may come before Serve.
func (c *conn) greet() {
	o := &c.engine.options
	c.beginWindow()
	c.out = http2.AppendSettings(c.out,
		http2.Setting{ID: http2.MaxConcurrentStreams, Value: uint32(o.MaxStreams)},
		http2.Setting{ID: http2.InitialWindowSize, Value: uint32(c.first.told)},
		http2.Setting{ID: http2.MaxHeaderListSize, Value: uint32(o.Limits.Head)},
		http2.Setting{ID: http2.EnableConnect, Value: 1},
		http2.Setting{ID: http2.NoRFC7540Priorities, Value: 1})
	if c.credit > 0 {
		c.out = http2.AppendWindowUpdate(c.out, 0, uint32(c.credit))
	}
	c.credit = 0
	c.inWindow = int64(o.ConnWindow)
}

// dropBlock gives the memory of a head back that is not whole.
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

// takeBlock takes memory for a block of which much is not decoded yet.
func (c *conn) takeBlock() bool {
	n := int64(c.decoder.MaxKept())
	if !c.front.Memory.Take(memory.Buffers, n) {
		return false
	}
	c.blockHeld = n
	return true
}

// returnBlock gives it back where it is not needed any more.
func (c *conn) returnBlock() {
	if c.blockHeld > 0 && !c.decoder.Large() {
		c.front.Memory.Give(memory.Buffers, c.blockHeld)
		c.blockHeld = 0
	}
}

package http2

import (
	"encoding/binary"
	"errors"
	"time"

	"serai/internal/memory"
	"serai/wire/http2"
	"serai/wire/socket"
)

// reader is what the goroutine that reads a connection keeps.
type reader struct {
	began   bool // Serve has been called
	paid    bool // for its memory
	settled bool // it has been silent for a while
	now     time.Time

	preface  int // bytes of it that have come
	welcomed bool
	header   [http2.HeaderSize]byte
	got      int // bytes of header that have come
	frameNow http2.Header
	within   bool   // the payload is coming
	left     int    // bytes of it that are still to come
	payload  []byte // of a frame that is not here whole, from a pool
	padding  int    // of DATA, that is still to come behind it

	decoder   http2.Block
	blockHeld int64         // bytes of memory that it has
	block     uint32        // stream whose block is not whole, 0 for none
	ends      bool          // with END_STREAM
	head      http2.Section // of trailers, and of heads that nobody wants
	target    *http2.Section
	opening   *stream // whose head is being decoded, nil for trailers or nobody's

	into      *stream // whose DATA is coming, nil for nobody's
	credit    int64   // of the connection's window, to be given back; guarded by conn.mu, as is the next
	inWindow  int64   // that is left to the client
	unwanted  [64]uint32
	nUnwanted int
	resets    bucket
	controls  bucket
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
	switch waits := c.got > 0 || c.within && c.frameNow.Type != http2.Data || c.block > 0 || !c.welcomed; {
	case !waits:
		c.partial = time.Time{}
	case c.partial.IsZero():
		c.partial = c.now
	}
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

// calm is a fault that has a cause of its own.
type calm struct {
	http2.ConnError
	cause Cause
}

func errCalm(cause Cause, detail string) error {
	return &calm{http2.ConnError{Code: http2.EnhanceYourCalm, Detail: detail}, cause}
}

func errProtocol(detail string) error {
	return &http2.ConnError{Code: http2.ProtocolError, Detail: detail}
}

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

// take goes through what has come.
func (c *conn) take(b []byte) error {
	if !c.welcomed {
		n := min(len(b), len(http2.Preface)-c.preface)
		if string(b[:n]) != http2.Preface[c.preface:c.preface+n] {
			return errProtocol("the connection does not begin with the preface")
		}
		c.preface += n
		c.welcomed = c.preface == len(http2.Preface)
		b = b[n:]
	}
	for len(b) > 0 {
		if !c.within {
			n := copy(c.header[c.got:], b)
			c.got, b = c.got+n, b[n:]
			if c.got < len(c.header) {
				return nil
			}
			c.got = 0
			c.frameNow = http2.ParseHeader(c.header[:])
			c.left = c.frameNow.Length
			if err := c.begin(&c.frameNow); err != nil {
				return err
			}
			c.within = true
		}
		n, err := c.takePayload(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// begin checks a frame by its header.
func (c *conn) begin(h *http2.Header) error {
	if h.Length > http2.FrameSize {
		return &http2.ConnError{Code: http2.FrameSizeError, Detail: "a frame is larger than allowed"}
	}
	if c.block > 0 && (h.Type != http2.Continuation || h.Stream != c.block) {
		return errProtocol("a head is interrupted by another frame")
	}
	if c.preface > 0 {
		if h.Type != http2.SettingsFrame || h.Has(http2.FlagAck) {
			return errProtocol("the first frame is not SETTINGS")
		}
		c.preface = 0
	}
	size := -1
	ofStream, ofConn := true, false
	switch h.Type {
	case http2.Data, http2.Headers, http2.Continuation:
	case http2.Priority:
		size = 5
	case http2.RSTStream:
		size = 4
	case http2.SettingsFrame:
		ofStream, ofConn = false, true
		if h.Has(http2.FlagAck) {
			size = 0
		} else if h.Length%http2.SettingSize != 0 {
			size = h.Length + 1
		}
	case http2.Ping:
		ofStream, ofConn, size = false, true, 8
	case http2.GoAway, http2.PriorityUpdate:
		ofStream, ofConn = false, true
	case http2.WindowUpdate:
		ofConn, size = true, 4
	case http2.PushPromise:
		return errProtocol("a client does not push")
	default:
		ofConn = true
	}
	switch {
	case h.Stream == 0 && !ofConn, h.Stream != 0 && !ofStream:
		return errProtocol("a frame is for a stream that it cannot be for")
	case size >= 0 && h.Length != size:
		return &http2.ConnError{Code: http2.FrameSizeError, Detail: "a frame has not the size of its type"}
	case h.Type == http2.Continuation && c.block == 0:
		return errProtocol("a CONTINUATION continues nothing")
	}
	if h.Type == http2.Data && !h.Has(http2.FlagPadded) {
		return c.beginData(h, h.Length)
	}
	return nil
}

// takePayload takes of the payload of the frame under way, and returns how many bytes.
func (c *conn) takePayload(b []byte) (n int, err error) {
	h := &c.frameNow
	n = min(len(b), c.left)
	switch {
	case h.Type == http2.Data && h.Has(http2.FlagPadded) && c.left == h.Length:
		if n == 0 && c.left > 0 {
			return 0, nil
		}
		// Of the length of the padding.
		if c.left == 0 {
			return 0, &http2.ConnError{Code: http2.FrameSizeError, Detail: "a padded frame has no length of its padding"}
		}
		if c.padding = int(b[0]); c.padding >= c.left {
			return 0, errProtocol("a frame's padding is longer than the frame")
		}
		c.left--
		if err := c.beginData(h, c.left-c.padding); err != nil {
			return 0, err
		}
		if c.left == 0 {
			return 1, c.endData(h)
		}
		return 1, nil
	case h.Type == http2.Data:
		data := b[:min(n, max(0, c.left-c.padding))]
		c.data(h, data)
		if c.left -= n; c.left == 0 {
			c.padding = 0
			return n, c.endData(h)
		}
		return n, nil
	case len(c.payload) == 0 && n == c.left:
		c.within = false
		return n, c.frameWhole(h, b[:n])
	}
	if c.payload == nil {
		c.payload = socket.GetSmall()[:0]
		if c.left > socket.SmallBuffer {
			socket.Put(c.payload)
			c.payload = socket.GetLarge()[:0]
		}
	}
	c.payload = append(c.payload, b[:n]...)
	if c.left -= n; c.left > 0 {
		return n, nil
	}
	c.within = false
	whole := c.payload
	err = c.frameWhole(h, whole)
	socket.Put(whole[:cap(whole)])
	c.payload = nil
	return n, err
}

// frameWhole takes a frame other than DATA.
func (c *conn) frameWhole(h *http2.Header, p []byte) error {
	switch h.Type {
	case http2.Headers:
		return c.headers(h, p)
	case http2.Continuation:
		if len(p) < 16 && !h.Has(http2.FlagEndHeaders) {
			if err := c.control(1); err != nil {
				return err
			}
		}
		return c.fragment(p, h.Has(http2.FlagEndHeaders))
	case http2.WindowUpdate:
		return c.windowUpdate(h, binary.BigEndian.Uint32(p)&http2.MaxWindow)
	case http2.RSTStream:
		return c.wasReset(h.Stream)
	case http2.SettingsFrame:
		return c.settle(h, p)
	case http2.Ping:
		return c.ping(h, p)
	case http2.GoAway:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.state < closing {
			c.state = closing
		}
		c.mayEnd()
		return nil
	case http2.Priority:
		if binary.BigEndian.Uint32(p)&http2.MaxStream == h.Stream {
			return errProtocol("a stream depends on itself")
		}
		return c.control(1)
	}
	return c.control(1) // of types that are not known, and priorities
}

// control counts n frames that carry nothing.
func (c *conn) control(n int) error {
	if !c.controls.take(c.now, n, c.engine.options.Controls) {
		return errCalm(CauseControls, "too many frames that carry nothing")
	}
	return nil
}

// countReset counts a stream that the client has had ended.
func (c *conn) countReset() error {
	if !c.resets.take(c.now, 1, c.engine.options.Resets) {
		return errCalm(CauseResets, "too many streams were reset")
	}
	return nil
}

func (c *conn) windowUpdate(h *http2.Header, n uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &c.window
	s := c.streams[h.Stream]
	switch {
	case h.Stream == 0:
	case h.Stream > c.lastID:
		return errProtocol("WINDOW_UPDATE for a stream that is not open")
	case s == nil:
		return c.control(1)
	default:
		w = &s.window
	}
	// Who takes a few bytes at a time has each of them sent in a frame of its own.
	if *w < smallWindow && n < smallWindow {
		if err := c.control(1); err != nil {
			return err
		}
	}
	*w += int64(n)
	switch {
	case n > 0 && *w <= http2.MaxWindow:
		if c.waiting > 0 {
			c.room.Broadcast()
		}
		return nil
	case h.Stream == 0 && n == 0:
		return errProtocol("a window is updated by nothing")
	case h.Stream == 0:
		return &http2.ConnError{Code: http2.FlowControlError, Detail: "a window is too large"}
	case n == 0:
		return c.streamFault(s, h.Stream, http2.ProtocolError)
	}
	return c.streamFault(s, h.Stream, http2.FlowControlError)
}

const smallWindow = 1024

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
	named{s, id}.cancel(c)
	c.mu.Lock()
}

// wasReset takes RST_STREAM.
func (c *conn) wasReset(id uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id > c.lastID {
		return errProtocol("RST_STREAM for a stream that is not open")
	}
	if s := c.streams[id]; s != nil {
		s.byPeer = true
		c.endStream(s, id)
	}
	return c.countReset()
}

// settle takes SETTINGS.
func (c *conn) settle(h *http2.Header, p []byte) error {
	if h.Has(http2.FlagAck) {
		return nil
	}
	if err := c.control(1 + len(p)/64); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(p) > 0; p = p[http2.SettingSize:] {
		s, err := http2.ParseSetting(p)
		if err != nil {
			return err
		}
		switch s.ID {
		case http2.HeaderTableSize:
			c.resized = true
		case http2.MaxFrameSize:
			c.frame = http2.FrameSize // larger ones would hold others up
		case http2.InitialWindowSize:
			change := int64(s.Value) - c.peerWindow
			c.peerWindow = int64(s.Value)
			for _, s := range c.streams {
				if s.window += change; s.window > http2.MaxWindow {
					return &http2.ConnError{Code: http2.FlowControlError, Detail: "a window is too large"}
				}
			}
			c.room.Broadcast()
		}
	}
	c.out = http2.AppendHeader(c.out, 0, http2.SettingsFrame, http2.FlagAck, 0)
	return nil
}

// ping takes PING.
func (c *conn) ping(h *http2.Header, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	data := [8]byte(p)
	if h.Has(http2.FlagAck) {
		if data == drainPing {
			c.drained()
		}
		return nil
	}
	// Clients of gRPC measure with a PING for what they were sent.
	if sent := c.sent; !sent {
		if err := c.control(1); err != nil {
			return err
		}
	}
	c.sent = false
	c.out = http2.AppendPing(c.out, http2.FlagAck, data)
	return nil
}

// greet sends the settings.
func (c *conn) greet() {
	o := &c.engine.options
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = http2.AppendSettings(c.out,
		http2.Setting{ID: http2.MaxConcurrentStreams, Value: uint32(o.MaxStreams)},
		http2.Setting{ID: http2.InitialWindowSize, Value: uint32(o.StreamWindow)},
		http2.Setting{ID: http2.MaxHeaderListSize, Value: uint32(o.Limits.Head)},
		http2.Setting{ID: http2.EnableConnect, Value: 1},
		http2.Setting{ID: http2.NoRFC7540Priorities, Value: 1})
	if c.credit > 0 {
		c.out = http2.AppendWindowUpdate(c.out, 0, uint32(c.credit))
	}
	c.credit = 0
	c.inWindow = int64(o.ConnWindow)
	c.flushSoon()
}

// dropBlock gives the memory of a head back that is not whole.
func (c *conn) dropBlock() {
	if c.payload != nil {
		socket.Put(c.payload[:cap(c.payload)])
		c.payload = nil
	}
	if c.opening != nil {
		c.engine.put(c.opening)
		c.opening = nil
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

// forget notes that frames of a stream are to be ignored: it was reset, and the client
// may not know. C.mu is held.
func (c *conn) forget(id uint32) {
	c.unwanted[c.nUnwanted%len(c.unwanted)] = id
	c.nUnwanted++
}

func (c *conn) isUnwanted(id uint32) bool {
	for _, u := range c.unwanted {
		if u == id {
			return true
		}
	}
	return false
}

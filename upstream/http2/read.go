package http2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"serai/wire/http2"
	"time"
)

// reader takes frames apart as their bytes come: no frame needs a buffer of its own.
// Only the goroutine that reads the connection uses it, and holds c.mu.
type reader struct {
	conn  *conn
	heads int // frames so far
	raw   [http2.HeaderSize]byte
	have  int // bytes of raw

	bulk   bool // a large buffer is worth it
	within bool // a frame's payload
	frame  http2.Header
	left   int     // bytes of the payload
	first  [8]byte // what a payload begins with: all of most frames
	got    int     // bytes of first
	want   int
	pad    int // bytes at the end that say nothing

	decoder http2.Block
	block   block
}

func (r *reader) init(c *conn) {
	r.conn = c
	r.decoder = http2.NewBlock(c.limits.Head, c.limits.Head+http2.FrameSize)
}

// read reads until the connection ends, and closes it.
func (c *conn) read() {
	var err error
	for err == nil {
		if err = c.Fill(); err != nil {
			break
		}
		c.mu.Lock()
		if err = c.take(c.Buffered()); err == nil {
			c.Discard(len(c.Buffered()))
			c.flush()
			if c.state == dead {
				err = c.err
			} else if c.taken == 0 {
				c.reader.bulk = false
				c.Release()
			} else if c.reader.bulk {
				c.Enlarge()
			}
		}
		c.mu.Unlock()
	}
	if err == io.EOF { // which is how a body ends that is whole
		err = errCut
	}
	c.mu.Lock()
	var broken *http2.ConnError
	if errors.As(err, &broken) && c.state != dead {
		c.sayWhy(broken.Code)
		err = fmt.Errorf("the instance broke HTTP/2: %w", broken)
	}
	c.fail(err)
	c.mu.Unlock()
	c.End()
}

// sayWhy tells the instance what it has done, if it takes that soon. C.mu is held, but
// not while it waits.
func (c *conn) sayWhy(code http2.Code) {
	c.writeIdle = time.Second
	c.add(http2.AppendGoAway(c.out, 0, code, ""))
	c.flush()
	if !c.flushing {
		return
	}
	flushed := make(chan struct{})
	c.flushed = flushed
	c.mu.Unlock()
	late := time.NewTimer(c.writeIdle)
	defer late.Stop()
	select {
	case <-flushed:
	case <-late.C:
	}
	c.mu.Lock()
}

// take takes bytes that have come.
func (c *conn) take(b []byte) error {
	c.heard, c.silent = time.Now(), false
	return c.reader.feed(b)
}

func (r *reader) feed(p []byte) error {
	for len(p) > 0 {
		if !r.within {
			n := copy(r.raw[r.have:], p)
			p = p[n:]
			if r.have += n; r.heads == 0 && !likeSettings(r.raw[:r.have]) {
				return notHTTP2(r.raw[:r.have])
			}
			if r.have < http2.HeaderSize {
				return nil
			}
			r.have, r.within, r.frame = 0, true, http2.ParseHeader(r.raw[:])
			r.heads++
			if err := r.begin(); err != nil {
				return err
			}
		}
		n := min(len(p), r.left)
		if err := r.payload(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		if r.left == 0 {
			r.within = false
			if err := r.finish(); err != nil {
				return err
			}
		}
	}
	return nil
}

// likeSettings reports whether an instance's first bytes may be those of a SETTINGS
// frame (RFC 9113 section 3.4).
func likeSettings(b []byte) bool {
	ours := [...]byte{3: byte(http2.SettingsFrame), 4: 0}
	for i := 0; i < len(b); i++ {
		if i == 0 && b[0] != 0 || (i == 3 || i == 4) && b[i] != ours[i] {
			return false
		}
	}
	return true
}

// notHTTP2 says what else an instance seems to speak.
func notHTTP2(b []byte) error {
	switch {
	case bytes.HasPrefix(b, []byte("HTTP/1.")[:min(len(b), 7)]):
		return fmt.Errorf("%w: it answers in HTTP/1", errNotHTTP2)
	case b[0] == 0x15 || b[0] == 0x16:
		return fmt.Errorf("%w: it speaks TLS", errNotHTTP2)
	}
	return fmt.Errorf("%w: it does not begin with SETTINGS", errNotHTTP2)
}

// fixed are the lengths of frames that have one; -1 for the others.
var fixed = [...]int{http2.Data: -1, http2.Headers: -1, http2.Priority: 5, http2.RSTStream: 4, http2.SettingsFrame: -1, http2.PushPromise: -1, http2.Ping: 8, http2.GoAway: -1, http2.WindowUpdate: 4, http2.Continuation: -1}

// begin looks at a frame's head.
func (r *reader) begin() error {
	f := &r.frame
	r.left, r.got, r.want, r.pad = f.Length, 0, 0, 0
	switch {
	case f.Length > http2.FrameSize:
		return &http2.ConnError{Code: http2.FrameSizeError, Detail: "a frame is longer than it may be"}
	case r.block.open && (f.Type != http2.Continuation || f.Stream != r.block.id):
		return &http2.ConnError{Code: http2.ProtocolError, Detail: "a block of fields is interrupted"}
	case int(f.Type) < len(fixed) && fixed[f.Type] >= 0:
		if r.want = fixed[f.Type]; f.Length != r.want {
			return &http2.ConnError{Code: http2.FrameSizeError, Detail: "a frame has a wrong length"}
		}
	}
	ofStream := f.Stream != 0
	switch f.Type {
	case http2.Data, http2.Headers, http2.Priority, http2.RSTStream, http2.Continuation:
		if !ofStream {
			return &http2.ConnError{Code: http2.ProtocolError, Detail: "a frame belongs to no stream"}
		}
	case http2.SettingsFrame, http2.Ping, http2.GoAway:
		if ofStream {
			return &http2.ConnError{Code: http2.ProtocolError, Detail: "a frame of the connection belongs to a stream"}
		}
	}
	switch f.Type {
	case http2.Data:
		r.conn.answered = r.conn.heard
		if f.Has(http2.FlagPadded) {
			r.want = 1
		}
		return r.beginData()
	case http2.Headers:
		r.conn.answered = r.conn.heard
		if f.Has(http2.FlagPadded) {
			r.want++
		}
		if f.Has(http2.FlagPriority) {
			r.want += 5
		}
		return r.beginBlock()
	case http2.Continuation:
		if !r.block.open {
			return &http2.ConnError{Code: http2.ProtocolError, Detail: "CONTINUATION continues nothing"}
		}
		return r.conn.noisy()
	case http2.PushPromise:
		return &http2.ConnError{Code: http2.ProtocolError, Detail: "it pushes, which it may not"}
	case http2.SettingsFrame:
		return r.beginSettings()
	case http2.GoAway:
		if r.want = 8; f.Length < r.want {
			return &http2.ConnError{Code: http2.FrameSizeError, Detail: "a GOAWAY is too short"}
		}
	}
	if f.Type == http2.WindowUpdate && f.Stream != 0 && f.Stream >= r.conn.next || f.Type == http2.RSTStream && f.Stream >= r.conn.next {
		return &http2.ConnError{Code: http2.ProtocolError, Detail: "a frame is of a stream that was not begun"}
	}
	return r.conn.noisy()
}

// payload takes bytes of it.
func (r *reader) payload(p []byte) error {
	r.left -= len(p)
	for len(p) > 0 && r.got < r.want {
		n := copy(r.first[r.got:r.want], p)
		p = p[n:]
		if r.got += n; r.got == r.want {
			again, err := r.prefix()
			if err != nil {
				return err
			}
			if again {
				r.got = 0
			}
		}
	}
	if len(p) == 0 {
		return nil
	}
	// What is padding is at the end: r.left and p are all that is to come.
	if over := len(p) + r.left - r.pad; over < len(p) {
		p = p[:max(over, 0)]
	}
	if len(p) == 0 {
		return nil
	}
	switch r.frame.Type {
	case http2.Data:
		return r.data(p)
	case http2.Headers, http2.Continuation:
		return r.fragment(p, false)
	}
	return nil
}

// prefix takes what a payload begins with, which is all of most. Again says that the
// next bytes are one more.
func (r *reader) prefix() (again bool, err error) {
	c, f, b := r.conn, &r.frame, r.first[:]
	switch f.Type {
	case http2.Data, http2.Headers:
		if f.Has(http2.FlagPadded) {
			if r.pad = int(b[0]); r.pad+r.want > f.Length {
				return false, &http2.ConnError{Code: http2.ProtocolError, Detail: "a frame is padded with more than it has"}
			}
		}
		if f.Type == http2.Data {
			return false, r.padded()
		}
	case http2.SettingsFrame:
		if err := c.noisy(); err != nil {
			return false, err
		}
		return true, c.set(b)
	case http2.Ping:
		if !f.Has(http2.FlagAck) {
			c.add(http2.AppendPing(c.out, http2.FlagAck, r.first))
		}
	case http2.RSTStream:
		return false, c.wasReset(f.Stream, http2.Code(binary.BigEndian.Uint32(b)))
	case http2.WindowUpdate:
		return false, c.mayHave(f.Stream, int64(binary.BigEndian.Uint32(b)&http2.MaxWindow))
	case http2.GoAway:
		c.goneAway(binary.BigEndian.Uint32(b) & http2.MaxStream)
	}
	return false, nil
}

// finish ends a frame.
func (r *reader) finish() error {
	if r.got < r.want && !(r.frame.Type == http2.SettingsFrame && r.got == 0) {
		return &http2.ConnError{Code: http2.FrameSizeError, Detail: "a frame is shorter than what it has"}
	}
	switch f := &r.frame; f.Type {
	case http2.Data:
		if f.Has(http2.FlagEndStream) {
			r.conn.ended(f.Stream)
		}
	case http2.Headers, http2.Continuation:
		if f.Has(http2.FlagEndHeaders) {
			if err := r.fragment(nil, true); err != nil {
				return err
			}
			return r.endBlock()
		}
	case http2.SettingsFrame:
		if !f.Has(http2.FlagAck) {
			r.conn.settled()
		}
	}
	return nil
}

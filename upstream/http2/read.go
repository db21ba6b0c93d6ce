package http2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/net/http2/hpack"
)

// reader takes frames apart as their bytes come: no frame needs a buffer of its own.
// Only the goroutine that reads the connection uses it, and holds c.mu.
type reader struct {
	conn  *conn
	heads int // frames so far
	raw   [frameHead]byte
	have  int // bytes of raw

	bulk   bool // a large buffer is worth it
	within bool // a frame's payload
	frame  frame
	left   int     // bytes of the payload
	first  [8]byte // what a payload begins with: all of most frames
	got    int     // bytes of first
	want   int
	pad    int // bytes at the end that say nothing

	block   block
	decoder *hpack.Decoder
}

func (r *reader) init(c *conn) {
	r.conn = c
	r.decoder = hpack.NewDecoder(4096, r.field)
	r.decoder.SetMaxStringLength(c.limits.Head)
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
	var broken *connError
	if errors.As(err, &broken) && c.state != dead {
		c.sayWhy(broken.code)
	}
	c.fail(err)
	c.mu.Unlock()
	c.End()
}

// sayWhy tells the instance what it has done, if it takes that soon. C.mu is held, but
// not while it waits.
func (c *conn) sayWhy(code errCode) {
	c.writeIdle = time.Second
	c.add(appendGoAway(c.out, code))
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
			if r.have < frameHead {
				return nil
			}
			r.have, r.within, r.frame = 0, true, parseFrame(&r.raw)
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
	ours := [...]byte{3: byte(frameSettings), 4: 0}
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
var fixed = [...]int{frameData: -1, frameHeaders: -1, framePriority: 5, frameReset: 4, frameSettings: -1, framePush: -1, framePing: 8, frameGoAway: -1, frameWindow: 4, frameContinuation: -1}

// begin looks at a frame's head.
func (r *reader) begin() error {
	f := &r.frame
	r.left, r.got, r.want, r.pad = f.length, 0, 0, 0
	switch {
	case f.length > maxFrame:
		return &connError{codeFrameSize, "a frame is longer than it may be"}
	case r.block.open && (f.kind != frameContinuation || f.stream != r.block.id):
		return &connError{codeProtocol, "a block of fields is interrupted"}
	case int(f.kind) < len(fixed) && fixed[f.kind] >= 0:
		if r.want = fixed[f.kind]; f.length != r.want {
			return &connError{codeFrameSize, "a frame has a wrong length"}
		}
	}
	ofStream := f.stream != 0
	switch f.kind {
	case frameData, frameHeaders, framePriority, frameReset, frameContinuation:
		if !ofStream {
			return &connError{codeProtocol, "a frame belongs to no stream"}
		}
	case frameSettings, framePing, frameGoAway:
		if ofStream {
			return &connError{codeProtocol, "a frame of the connection belongs to a stream"}
		}
	}
	switch f.kind {
	case frameData:
		r.conn.answered = r.conn.heard
		if f.has(flagPadded) {
			r.want = 1
		}
		return r.beginData()
	case frameHeaders:
		r.conn.answered = r.conn.heard
		if f.has(flagPadded) {
			r.want++
		}
		if f.has(flagPriority) {
			r.want += 5
		}
		return r.beginBlock()
	case frameContinuation:
		if !r.block.open {
			return &connError{codeProtocol, "CONTINUATION continues nothing"}
		}
		return r.conn.noisy()
	case framePush:
		return &connError{codeProtocol, "it pushes, which it may not"}
	case frameSettings:
		return r.beginSettings()
	case frameGoAway:
		if r.want = 8; f.length < r.want {
			return &connError{codeFrameSize, "a GOAWAY is too short"}
		}
	}
	if f.kind == frameWindow && f.stream != 0 && f.stream >= r.conn.next || f.kind == frameReset && f.stream >= r.conn.next {
		return &connError{codeProtocol, "a frame is of a stream that was not begun"}
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
	switch r.frame.kind {
	case frameData:
		return r.data(p)
	case frameHeaders, frameContinuation:
		return r.fragment(p)
	}
	return nil
}

// prefix takes what a payload begins with, which is all of most. Again says that the
// next bytes are one more.
func (r *reader) prefix() (again bool, err error) {
	c, f, b := r.conn, &r.frame, r.first[:]
	switch f.kind {
	case frameData, frameHeaders:
		if f.has(flagPadded) {
			if r.pad = int(b[0]); r.pad+r.want > f.length {
				return false, &connError{codeProtocol, "a frame is padded with more than it has"}
			}
		}
		if f.kind == frameData {
			return false, r.padded()
		}
	case frameSettings:
		if err := c.noisy(); err != nil {
			return false, err
		}
		return true, c.set(binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:]))
	case framePing:
		if !f.has(flagAck) {
			c.add(appendPing(c.out, flagAck, b))
		}
	case frameReset:
		return false, c.wasReset(f.stream, errCode(binary.BigEndian.Uint32(b)))
	case frameWindow:
		return false, c.mayHave(f.stream, int64(binary.BigEndian.Uint32(b)&maxWindow))
	case frameGoAway:
		c.goneAway(binary.BigEndian.Uint32(b) & maxStream)
	}
	return false, nil
}

// finish ends a frame.
func (r *reader) finish() error {
	if r.got < r.want && !(r.frame.kind == frameSettings && r.got == 0) {
		return &connError{codeFrameSize, "a frame is shorter than what it has"}
	}
	switch f := &r.frame; f.kind {
	case frameData:
		if f.has(flagEndStream) {
			r.conn.ended(f.stream)
		}
	case frameHeaders, frameContinuation:
		if f.has(flagEndHeaders) {
			return r.endBlock()
		}
	case frameSettings:
		if !f.has(flagAck) {
			r.conn.settled()
		}
	}
	return nil
}

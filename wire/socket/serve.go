package socket

import (
	"cmp"
	"errors"
	"io"
	"time"
)

// Handler processes what has come on a connection.
type Handler interface {
	// Handle processes buffered bytes, and reports whether Serve should go on. It must
	// not read from the connection or close it; when it needs to, it returns false. It
	// may write; while the socket accepts everything, neither deadlines nor Interrupt
	// prevent that.
	Handle() (more bool)
}

// errServing says that a Handler violates that rule.
var errServing = errors.New("read from a connection while its handler is at work")

// Serve calls h whenever something is buffered, until h returns false, which is no
// error, or nothing more comes. It holds no buffer while it waits. When more must
// follow a first byte, such as the rest of a TLS record, it has to come within rest, or
// before the deadline.
func (c *Conn) Serve(h Handler, rest time.Duration) error {
	c.handler = h
	for c.handleBuffered() {
		if c.sys.ok() {
			return c.sys.serve()
		}
		if c.records != nil && c.records.sys.ok() {
			return c.records.serve(c, rest)
		}
		if err := c.fillFromByte(rest); err != nil {
			return err
		}
	}
	return nil
}

// Await waits until something has come on a connection that has been silent, with
// nothing buffered, and leaves it to Serve. A read through TLS needs a stack of twice the
// size or more, which a goroutine keeps for as long as it waits. Serve alone is cheaper
// if something is expected soon.
func (c *Conn) Await() error {
	if c.records == nil || !c.records.sys.ok() || c.records.inside() {
		return nil
	}
	return c.records.sys.await()
}

// handle passes the n bytes in b to the handler.
func (c *Conn) handle(b []byte, n int) (more bool) {
	c.buf, c.r, c.w = b, 0, n
	return c.handleBuffered()
}

// handleBuffered passes everything that is buffered to the handler, and releases the
// buffer.
func (c *Conn) handleBuffered() (more bool) {
	for len(c.Buffered()) > 0 {
		if !c.handler.Handle() {
			return false
		}
	}
	c.Release()
	return true
}

// fillFromByte waits for one byte without a buffer, and then reads what has come with
// it into one.
func (c *Conn) fillFromByte(rest time.Duration) error {
	if c.records != nil {
		c.records.await(c, rest)
		defer func() { c.records.conn = nil }()
	}
	n, err := c.Conn.Read(c.first[:])
	if n == 0 {
		return cmp.Or(err, io.ErrNoProgress)
	}
	c.buf, c.r, c.w = GetSmall(), 0, 1
	c.buf[0] = c.first[0]
	if err == nil {
		if now := time.Now(); c.readBy-since(now) > deadline(rest+slack(rest)) {
			c.ReadWithin(now, rest)
		}
		n, _ = c.Conn.Read(c.buf[1:]) // an error is left to the next read
		c.w += n
	}
	return nil
}

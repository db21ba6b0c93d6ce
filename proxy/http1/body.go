package http1

import (
	"io"
	"sync/atomic"

	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// requestBody is a request's body whose every wait is timed.
type requestBody struct {
	wire.Body
	conn *conn
	head []byte // the buffer of the head when the body has another

	// left counts the bytes that are still to be taken: notKnown when they are
	// chunks, or the body has failed. The goroutine that writes the answer asks
	// while another may read.
	left        atomic.Int64
	interrupted atomic.Bool

	gathers int // bytes of a body that Gather waits for, 0 for none
	pace    pace
}

const notKnown = -1

// reset starts the body of h at the unread bytes of c. A body that is not here
// yet is read into a buffer of its own: the head must outlive it.
func (b *requestBody) reset(c *conn, h *wire.RequestHead) {
	b.conn = c
	b.gathers, b.pace.late = 0, 0
	// Most requests have no body, and find these as they are to be: a load costs less
	// than a store that all cores see.
	if b.interrupted.Load() {
		b.interrupted.Store(false)
	}
	if b.pace.answered.Load() {
		b.pace.answered.Store(false)
	}
	switch h.Framing {
	case wire.NoBody:
		if b.left.Load() != 0 {
			b.left.Store(0)
		}
	case wire.Length:
		b.left.Store(h.Size)
	default:
		b.left.Store(notKnown)
	}
	switch {
	case h.Framing == wire.Chunked || h.Framing == wire.Length && h.Size > socket.LargeBuffer:
		b.head = c.wire.Detach()
	case h.Framing == wire.Length && h.Size > int64(len(c.wire.Buffered())):
		b.head = c.wire.DetachFor(int(h.Size))
		if !h.Continue {
			b.gathers = int(h.Size)
		}
	}
	b.Body.Reset(c.wire, h.Framing, h.Size, c.engine.options.Limits)
}

// requestSize is about what a request takes that waits, beside its buffers: its
// session and the stack of its goroutine.
const requestSize = 6 << 10

// Holds returns how many bytes of memory the request takes.
func (b *requestBody) Holds() int64 {
	return requestSize + int64(b.conn.wire.Held()) + int64(len(b.head))
}

func (b *requestBody) release() {
	socket.Put(b.head)
	b.head, b.conn = nil, nil
}

// Next is wire.Body's, within the body's idle time, and not below the least rate.
func (b *requestBody) Next() ([]byte, error) {
	if b.Body.Ready() || b.Body.Done() {
		data, err := b.Body.Next()
		b.note(len(data), err)
		return data, err
	}
	began, err := b.await()
	if err != nil {
		return nil, err
	}
	data, err := b.Body.Next()
	err = b.waited(began, len(data), err)
	b.note(len(data), err)
	return data, err
}

var _ upstream.Spliced = (*requestBody)(nil)

// Plain reports whether the client's connection is a plain socket.
func (b *requestBody) Plain() bool { return b.conn.wire.Plain() }

// Pull is the Pipe's, bounded as Next is.
func (b *requestBody) Pull(p *socket.Pipe) (int, error) {
	began, err := b.await()
	if err != nil {
		return 0, err
	}
	n, err := p.Pull(&b.Body, b.conn.wire)
	err = b.waited(began, n, err)
	b.note(n, err)
	return n, err
}

// note counts n bytes that were taken, and what became of the body.
func (b *requestBody) note(n int, err error) {
	switch left := b.left.Load(); {
	case b.Body.Done():
		b.left.Store(0)
		b.conn.session.memoryUse.WaitEnds()
	case err != nil && !b.interrupted.Load():
		b.left.Store(notKnown)
	case left != notKnown:
		b.left.Store(left - int64(n))
	}
}

// ends reports whether the connection will come to the body's end: it is here,
// or the rest is known and small, and on its way.
func (b *requestBody) ends(continued bool) bool {
	if !b.conn.session.Uploading() {
		for b.Body.Ready() { // what is here is read without waiting
			data, err := b.Body.Next()
			b.note(len(data), err)
		}
		b.note(0, nil)
	}
	left := b.left.Load()
	// A client that waits for a 100 may send nothing after a final answer, or all
	// of it (RFC 9110 section 10.1.1).
	h := &b.conn.session.Head
	if h.Continue && !continued && left == h.Size {
		return left == 0
	}
	return left != notKnown && left <= maxDiscard
}

// maxDiscard is how much of a request's body that nobody wants is read, in
// bytes, for the sake of the connection.
const maxDiscard = 256 << 10

// discard reads the rest of a body that ends, and reports whether it did. It
// has as much time as any body.
func (b *requestBody) discard() bool {
	if b.interrupted.Load() {
		b.conn.wire.Resume()
		b.interrupted.Store(false)
		b.Body.Resume()
	}
	b.pace.answered.Store(false) // the answer is whole, and the least rate holds again
	for {
		switch _, err := b.Next(); err {
		case nil:
		case io.EOF:
			return true
		default:
			return false
		}
	}
}

// Interrupt makes a Next that waits in another goroutine fail. The answer can
// still be written.
func (b *requestBody) Interrupt() {
	b.interrupted.Store(true)
	b.conn.wire.InterruptReads()
}

package http1

import (
	"io"
	"sync/atomic"

	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// requestBody is a request's body with time limits for every wait.
type requestBody struct {
	wire.Body
	conn *conn
	head []byte // the buffer of the head, if the body has another one

	// left counts the bytes that were not read yet. It is unknownSize for chunks, and
	// after the body has failed. The goroutine that writes the answer reads it while
	// another one may read the body.
	left        atomic.Int64
	interrupted atomic.Bool

	gathers int // size of a body that Gather waits for, 0 for none
	pace    pace
}

const unknownSize = -1

// reset starts the body of h at the unread bytes of c. If the body is not here yet, it
// gets a buffer of its own, because the head must outlive the reads.
func (b *requestBody) reset(c *conn, h *wire.RequestHead) {
	b.conn = c
	b.gathers, b.pace.late = 0, 0
	// Most requests have no body and find these values as they should be. So they load
	// before they store: a store makes other cores read the value again.
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
		b.left.Store(unknownSize)
	}
	c.wire.ExpectWhole(h.Framing == wire.Length && h.Size > socket.SmallBuffer && h.Size <= socket.LargeBuffer)
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

// here reports whether the request has come with its whole body.
func (b *requestBody) here() bool {
	size := b.left.Load()
	return size != unknownSize && size <= int64(len(b.conn.wire.Buffered()))
}

// requestSize is about the memory of a waiting request without its buffers: its session
// and the stack of its goroutine.
const requestSize = 6 << 10

// Holds returns how many bytes of memory the request uses.
func (b *requestBody) Holds() int64 {
	return requestSize + int64(b.conn.wire.Held()) + int64(len(b.head))
}

func (b *requestBody) release() {
	socket.Put(b.head)
	b.head, b.conn = nil, nil
}

// Next is wire.Body's Next, within the body's idle time, and at no less than the
// minimum rate.
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
	err = b.endWait(began, len(data), err)
	b.note(len(data), err)
	return data, err
}

var _ upstream.Spliced = (*requestBody)(nil)

// Plain reports whether the client's connection is a plain socket.
func (b *requestBody) Plain() bool { return b.conn.wire.Plain() }

// Pull is the Pipe's Pull, with the same limits as Next.
func (b *requestBody) Pull(p *socket.Pipe) (int, error) {
	began, err := b.await()
	if err != nil {
		return 0, err
	}
	n, err := p.Pull(&b.Body, b.conn.wire)
	err = b.endWait(began, n, err)
	b.note(n, err)
	return n, err
}

// note counts n bytes that were read, and records the end or the failure of the body.
func (b *requestBody) note(n int, err error) {
	switch left := b.left.Load(); {
	case b.Body.Done():
		if left != 0 {
			b.left.Store(0)
		}
		b.conn.session.memoryUse.WaitEnds()
	case err != nil && !b.interrupted.Load():
		b.left.Store(unknownSize)
	case left != unknownSize:
		b.left.Store(left - int64(n))
	}
}

// endsSoon reports whether the body will be read to its end: it is here completely, or
// the rest is known to be small and on its way.
func (b *requestBody) endsSoon(continued bool) bool {
	if b.conn.session.Head.Framing == wire.NoBody {
		return true
	}
	if !b.conn.session.Uploading() {
		for b.Body.Ready() { // reads what is here, without waiting
			data, err := b.Body.Next()
			b.note(len(data), err)
		}
		b.note(0, nil)
	}
	left := b.left.Load()
	// A client that waits for a 100 may send nothing after a final answer, or the whole
	// body (RFC 9110 section 10.1.1).
	h := &b.conn.session.Head
	if h.Continue && !continued && left == h.Size {
		return left == 0
	}
	return left != unknownSize && left <= maxDiscard
}

// maxDiscard is how many bytes of an unwanted request body are read, so that the
// connection can be reused.
const maxDiscard = 256 << 10

// discard reads the rest of the body, and reports whether it has ended properly. It has
// as much time as any body.
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

// Interrupt makes a Next that waits in another goroutine fail. The answer can still be
// written.
func (b *requestBody) Interrupt() {
	b.interrupted.Store(true)
	b.conn.wire.InterruptReads()
}

package http1

import (
	"time"

	"serai/proxy/wire"
)

// requestBody is a request's body whose every wait is timed.
type requestBody struct {
	wire.Body
	conn        *conn
	interrupted bool
	head        []byte // the buffer of the head when the body has another
}

// reset starts the body of h at the unread bytes of c. A body that is not here
// yet is read into a buffer of its own: the head must outlive it.
func (b *requestBody) reset(c *conn, h *wire.RequestHead) {
	b.conn, b.interrupted = c, false
	whole := h.Framing == wire.NoBody || h.Framing == wire.Length && h.Size <= int64(len(c.wire.Buffered()))
	if !whole {
		b.head = c.wire.Detach()
	}
	b.Body.Reset(c.wire, h.Framing, h.Size, c.server.options.Limits)
}

func (b *requestBody) release() {
	wire.Put(b.head)
	b.head, b.conn = nil, nil
}

// Next is wire.Body's, within the body's idle time.
func (b *requestBody) Next() ([]byte, error) {
	if !b.Body.Ready() && !b.Body.Done() {
		b.conn.wire.ReadWithin(time.Now(), b.conn.server.options.BodyIdle)
	}
	return b.Body.Next()
}

// Interrupt makes a Next that waits in another goroutine fail. The answer can
// still be written.
func (b *requestBody) Interrupt() {
	b.interrupted = true
	b.conn.wire.InterruptReads()
}

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

// gatherTime is how long a small body on its way is waited for before its
// request goes on without it.
const gatherTime = 100 * time.Millisecond

// reset starts the body of h at the unread bytes of c. A body that is not here
// yet is read into a buffer of its own: the head must outlive it.
//
// One that fits there is waited for: as a whole it leaves in one write, needs no
// goroutine, may go over an idle connection, and can be repeated. It is not when
// the client asks whether to send it. Reset reports whether it had to wait.
func (b *requestBody) reset(c *conn, h *wire.RequestHead) (waited bool) {
	b.conn, b.interrupted = c, false
	if h.Framing == wire.Chunked || h.Framing == wire.Length && h.Size > int64(len(c.wire.Buffered())) {
		b.head = c.wire.Detach()
		if h.Framing == wire.Length && h.Size <= wire.LargeBuffer && !h.Continue {
			waited = b.gather(int(h.Size))
		}
	}
	b.Body.Reset(&c.wire, h.Framing, h.Size, c.server.options.Limits)
	return waited
}

// gather reads up to size bytes, as far as they come soon, and reports whether
// it had to wait. An error is left to the next read.
func (b *requestBody) gather(size int) (waited bool) {
	w := &b.conn.wire
	for len(w.Buffered()) < size && w.FillReady() {
	}
	if len(w.Buffered()) >= size {
		return false
	}
	w.ReadWithin(time.Now(), gatherTime)
	for len(w.Buffered()) < size && w.Fill() == nil {
	}
	return true
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

// Pull is wire.Body's, within the body's idle time.
func (b *requestBody) Pull(p *wire.Pipe) (int, error) {
	if p != nil {
		b.conn.wire.ReadWithin(time.Now(), b.conn.server.options.BodyIdle)
	}
	return b.Body.Pull(p)
}

// Interrupt makes a Next that waits in another goroutine fail. The answer can
// still be written.
func (b *requestBody) Interrupt() {
	b.interrupted = true
	b.conn.wire.InterruptReads()
}

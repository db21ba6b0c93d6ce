package socket

import (
	"bytes"
	"io"
	"strconv"

	"serai/internal/memory"
	"serai/wire"
)

// Buffered returns the unread bytes. They are valid until the next read.
func (c *Conn) Buffered() []byte { return c.buf[c.r:c.w] }

// Discard marks the first n unread bytes as read. Slices of them stay valid until the
// next read or Release.
func (c *Conn) Discard(n int) { c.r += n }

// Fill reads once, and appends to the unread bytes. It makes room by moving them, then
// with a larger buffer. With LargeBuffer bytes unread it fails with wire.ErrBufferFull,
// and without memory for a larger buffer with wire.ErrOverloaded. Moving invalidates
// all slices of Buffered.
func (c *Conn) Fill() error {
	switch {
	case c.buf == nil:
		c.buf, c.r, c.w = GetSmall(), 0, 0
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w == len(c.buf) && c.r > 0:
		c.w, c.r = move(c.buf, c.Buffered()), 0
	case len(c.buf) >= LargeBuffer && c.w == len(c.buf):
		return wire.ErrBufferFull
	case len(c.buf) == TinyBuffer && c.w == len(c.buf):
		Put(c.moveTo(GetSmall()))
	case c.w == len(c.buf):
		if !c.hold(LargeBuffer) {
			return wire.ErrOverloaded
		}
		Put(c.moveTo(GetLarge()))
	}
	n, err := c.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// FillLine calls Fill until a line end has come, so that a head that comes byte by byte
// is not parsed for each byte.
func (c *Conn) FillLine() error {
	for {
		had := len(c.Buffered())
		if err := c.Fill(); err != nil {
			return err
		}
		if bytes.IndexByte(c.Buffered()[had:], '\n') >= 0 {
			return nil
		}
	}
}

// FillHead is FillLine, but returns with the first bytes of a head, which show whether it
// can be one.
func (c *Conn) FillHead() error {
	if len(c.Buffered()) == 0 {
		return c.Fill()
	}
	return c.FillLine()
}

// Enlarge makes the buffer a large one, if there is memory for it. It is meant for
// bodies.
func (c *Conn) Enlarge() {
	if len(c.buf) < LargeBuffer && c.hold(LargeBuffer) {
		Put(c.moveTo(GetLarge()))
	}
}

// EnlargeMore makes the buffer a huge one, if one is available.
func (c *Conn) EnlargeMore() {
	if len(c.buf) >= HugeBuffer || !takeHuge() {
		return
	}
	c.huge.Store(true)
	if c.hold(HugeBuffer) {
		Put(c.moveTo(getHuge()))
	} else if c.huge.CompareAndSwap(true, false) {
		returnHuge()
	}
}

// moveTo moves the unread bytes to b, which becomes the buffer, and returns the old
// buffer. No other code replaces the buffer: if bytes were lost here, the next ones
// would become part of the wrong message.
func (c *Conn) moveTo(b []byte) (old []byte) {
	old, c.w, c.r, c.buf = c.buf, move(b, c.Buffered()), 0, b
	return old
}

// move copies all of src to the start of dst, and returns the number of bytes.
func move(dst, src []byte) int {
	if len(src) > len(dst) {
		panic("socket: a buffer of " + strconv.Itoa(len(dst)) + " bytes for " + strconv.Itoa(len(src)) + " unread ones")
	}
	return copy(dst, src)
}

// Detach moves the unread bytes to a large buffer, or to a huge one when there are
// more, and returns the old buffer, so that slices of it stay valid through further
// reads. The caller returns it with Put: until then the connection has two.
func (c *Conn) Detach() []byte { return c.DetachFor(LargeBuffer) }

// DetachFor is Detach to a buffer with room for n bytes and for the unread ones, up to
// a large one. Without memory for that it is a small one, if the unread bytes fit.
func (c *Conn) DetachFor(n int) []byte {
	unread := len(c.Buffered())
	if unread > LargeBuffer && c.huge.Load() {
		return c.moveTo(getHuge()) // it counts in place of the old one
	}
	if c.huge.CompareAndSwap(true, false) {
		returnHuge()
	}
	room := int64(LargeBuffer)
	if len(c.buf) > SmallBuffer { // the old one is held as long as the new one
		room += int64(len(c.buf))
	}
	switch n = max(n, unread); {
	case n <= TinyBuffer:
		return c.moveTo(getTiny())
	case n <= SmallBuffer, !c.hold(max(c.held.Load(), room)) && unread <= SmallBuffer:
		return c.moveTo(GetSmall())
	case n > LargeBuffer:
		return c.moveTo(getWhole())
	}
	return c.moveTo(GetLarge())
}

// ExpectWhole says whether the next request is expected to have a body that fits into a
// large buffer: then Serve reads it together with its head, if there is memory for that.
func (c *Conn) ExpectWhole(expected bool) { c.whole = expected }

// holdsWhole reports whether the next read is one with a whole buffer, for which it holds
// the memory then.
func (c *Conn) holdsWhole() bool {
	return c.whole && !c.memory.RunsLow(memory.Buffers) && c.hold(WholeBuffer)
}

// shrink moves what has come to a small buffer, since it was less than expected.
func (c *Conn) shrink(came []byte) []byte {
	b := GetSmall()
	move(b, came)
	Put(came)
	c.releaseMemory()
	return b
}

// Held returns the size of the read buffer, 0 when there is none.
func (c *Conn) Held() int { return len(c.buf) }

// Release returns the buffer to its pool when nothing is unread.
func (c *Conn) Release() {
	if c.buf != nil && c.r == c.w {
		c.releaseMemory()
		Put(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
}

// LimitMemory makes large buffers of the connection count for m. Call it while the
// connection has none.
func (c *Conn) LimitMemory(m *memory.Client) { c.memory = m }

// hold sets the connection's part of the budget to n bytes, and reports whether there
// is room for them.
func (c *Conn) hold(n int64) bool {
	had := c.held.Load()
	switch {
	case n <= had:
		return true
	case !c.memory.Take(memory.Buffers, n-had):
		return false
	}
	c.held.Add(n - had)
	return true
}

// Reserved returns how many bytes of the budget the connection holds. It may be called
// while another goroutine uses c.
func (c *Conn) Reserved() int64 { return c.held.Load() }

// releaseMemory gives back the connection's memory of the budget, and its huge buffer. Most
// connections have neither, so it loads before it stores: see Moment.Clear.
func (c *Conn) releaseMemory() {
	if c.held.Load() > 0 {
		c.memory.Give(memory.Buffers, c.held.Swap(0))
	}
	if c.huge.Load() && c.huge.CompareAndSwap(true, false) {
		returnHuge()
	}
}

// FillReady is Fill for bytes that are already here: it reads once without waiting, and
// reports whether anything came. If it cannot read the socket itself, the result is
// always false.
func (c *Conn) FillReady() bool {
	secure := c.records != nil && c.records.sys.ok()
	if !c.sys.ok() && !secure {
		return false
	}
	if c.buf == nil {
		c.buf, c.r, c.w = GetSmall(), 0, 0
	}
	if c.w == len(c.buf) {
		return false
	}
	n := 0
	if secure {
		n = c.records.fillReady(c, c.buf[c.w:])
	} else {
		n = c.sys.readReady(c.buf[c.w:])
	}
	c.w += n
	return n > 0
}

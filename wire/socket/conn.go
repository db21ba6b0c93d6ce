package socket

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"serai/internal/memory"
	"serai/wire"
)

var _ wire.Source = (*Conn)(nil)

// Conn is a connection with a read buffer that is released while the connection is
// idle, and with deadlines that cost nothing unless they move. Only one goroutine at a
// time may use it, except for Close and Interrupt.
type Conn struct {
	sys     sysConn     // reads and writes the socket itself if possible
	handler Handler     // of Serve
	records *recordConn // below TLS, nil when there is none

	buf  []byte // from the pool, nil while nothing is buffered
	r, w int    // buf[r:w] is unread

	readBy, writeBy  deadline // the current ones
	writeDue         bool     // writeBy is to be set before a write waits
	interrupted      atomic.Bool
	readsInterrupted atomic.Bool    // only reads are interrupted
	huge             atomic.Bool    // buf is one of the counted huge buffers
	memory           *memory.Client // the client that large buffers count for, nil for no limit
	held             atomic.Int64   // bytes held for it
	first            [1]byte        // of fillFromByte
	shared           bool           // several goroutines write, one after the other
	closed           atomic.Bool    // by Close
	look             *look          // of HungUp, nil until it is called

	net.Conn
}

// NewConn wraps c, and owns it from then on.
func NewConn(c net.Conn) *Conn {
	conn := new(Conn)
	conn.Init(c)
	return conn
}

// Init is NewConn for a Conn that is part of something larger. It may be called again
// when the connection before is closed and nobody uses it any more.
func (c *Conn) Init(nc net.Conn) {
	*c = Conn{Conn: nc, sys: c.sys.again()}
	switch nc := nc.(type) {
	case syscall.Conn:
		c.sys.init(c, nc)
	case *tls.Conn:
		c.records, _ = nc.NetConn().(*recordConn)
	}
}

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

// FillLine is Fill until a line end has come: a head that comes byte by byte is not
// worth parsing before.
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

// Enlarge makes the buffer a large one, for a body that is worth it, if there is memory
// for one.
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
	if unread > LargeBuffer {
		return c.moveTo(getHuge()) // counted already, with the one before
	}
	if c.huge.CompareAndSwap(true, false) {
		returnHuge()
	}
	switch n = max(n, unread); {
	case n <= TinyBuffer:
		return c.moveTo(getTiny())
	case n <= SmallBuffer, unread <= SmallBuffer && !c.hold(max(c.held.Load(), LargeBuffer)):
		return c.moveTo(GetSmall())
	}
	return c.moveTo(GetLarge())
}

// Held returns the size of the read buffer, 0 when there is none.
func (c *Conn) Held() int { return len(c.buf) }

// Release returns the buffer to its pool when nothing is unread.
func (c *Conn) Release() {
	if c.buf != nil && c.r == c.w {
		c.letGo()
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

// letGo returns what the connection holds of the budget and of the huge buffers.
func (c *Conn) letGo() {
	if n := c.held.Swap(0); n > 0 {
		c.memory.Give(memory.Buffers, n)
	}
	if c.huge.CompareAndSwap(true, false) {
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

// Await waits until something has come on a connection that has been silent, with nothing
// buffered, and leaves it to Serve. A read through TLS has a stack of twice the size or more, which a
// goroutine keeps for as long as it waits. Serve alone is cheaper where what comes is
// expected soon.
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

// ShareWrites lets a goroutine write while another one is in Serve. Call it before
// either does. Two goroutines must not write at once.
func (c *Conn) ShareWrites() { c.shared = true }

// Read reads from the connection, bypassing the buffer.
func (c *Conn) Read(p []byte) (int, error) {
	if c.sys.ok() {
		return c.sys.read(p)
	}
	return c.Conn.Read(p)
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (int, error) {
	if c.sys.ok() {
		return c.sys.write(p, false)
	}
	if c.records != nil && len(p) > recordSize && len(p) <= oneSegment {
		c.records.announce(len(p))
	}
	return c.Conn.Write(p)
}

// WriteNow writes as much of p as leaves without a wait, and returns how much that is.
// Over TLS it is Write: a record cannot be left in part.
func (c *Conn) WriteNow(p []byte) (int, error) {
	if c.sys.ok() {
		return c.sys.writeNow(p)
	}
	return c.Write(p)
}

// Plain reports whether bytes are sent over the socket unchanged, without TLS.
func (c *Conn) Plain() bool { return c.sys.ok() }

// Reusable reports whether an idle connection is still open with nothing to read: an
// unsolicited byte would become the next request's answer.
func (c *Conn) Reusable() bool {
	return len(c.Buffered()) == 0 && c.quiet()
}

// ErrStale says that an idle connection was closed by its peer, or has received
// unsolicited bytes. Nothing was written to it.
var ErrStale = errors.New("idle connection is stale")

// Request writes a whole request, head and body, and reads the first bytes of its
// answer. Idle says that the connection has carried a request before: then Request
// checks it first, and writes nothing when it fails with ErrStale.
func (c *Conn) Request(head, body []byte, idle bool) error {
	if c.buf != nil || !c.sys.ok() {
		if idle && !c.Reusable() {
			return ErrStale
		}
		if err := c.WriteBoth(head, body); err != nil {
			return err
		}
		return c.Fill()
	}
	b, n, whole, err := c.sys.request(head, body, idle)
	if err == nil && !whole {
		// The socket accepted only a part at once.
		if err := c.WriteBoth(c.sys.rest()); err != nil {
			return err
		}
		return c.Fill()
	}
	if n > 0 {
		c.buf, c.r, c.w = b, 0, n
		return nil
	}
	return err
}

// WriteBoth writes all of head and then all of body.
func (c *Conn) WriteBoth(head, body []byte) error {
	for _, p := range [...][]byte{head, body} {
		if len(p) == 0 {
			continue
		}
		if _, err := c.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// End is Close when no other goroutine reads: it also releases the buffer, and unread
// bytes in it are lost.
func (c *Conn) End() error {
	Put(c.buf)
	c.buf, c.r, c.w = nil, 0, 0
	return c.Close()
}

// Close closes the connection. The buffer is left to the garbage collector, since
// another goroutine may still be reading into it.
func (c *Conn) Close() error {
	c.letGo()
	if c.closed.Swap(true) {
		return net.ErrClosed // the net package would allocate an error
	}
	return c.Conn.Close()
}

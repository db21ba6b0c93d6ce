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

// Conn is a connection with a read buffer that is given back while the
// connection is idle, and with deadlines that cost nothing unless they move.
// It is used by one goroutine at a time, but for Close and Interrupt.
type Conn struct {
	sys     sysConn     // reads and writes the socket itself when it can
	handler Handler     // of Serve
	records *recordConn // below TLS, nil when there is none

	buf  []byte // from the pool, nil while nothing is buffered
	r, w int    // buf[r:w] is unread

	readBy, writeBy  deadline // that are set
	interrupted      atomic.Bool
	readsInterrupted atomic.Bool    // only reads are interrupted
	huge             atomic.Bool    // buf is one of the huge buffers that are counted
	memory           *memory.Client // who large buffers are taken for, nil for no end
	held             atomic.Int64   // bytes of it
	first            [1]byte        // of fillFromByte
	shared           bool           // several goroutines write, one after the other

	net.Conn
}

// NewConn wraps c, which it owns from then on.
func NewConn(c net.Conn) *Conn {
	conn := new(Conn)
	conn.Init(c)
	return conn
}

// Init is NewConn for a Conn that is part of something larger.
func (c *Conn) Init(nc net.Conn) {
	c.Conn = nc
	switch nc := nc.(type) {
	case syscall.Conn:
		c.sys.init(c, nc)
	case *tls.Conn:
		c.records, _ = nc.NetConn().(*recordConn)
	}
}

// Buffered returns the unread bytes. They are valid until the next read.
func (c *Conn) Buffered() []byte { return c.buf[c.r:c.w] }

// Discard marks the first n unread bytes as read. The slices that point to
// them stay valid until the next read or Release.
func (c *Conn) Discard(n int) { c.r += n }

// Fill reads once, appending to the unread bytes: more room is made by moving
// them, then by a larger buffer, then, with
// LargeBuffer bytes unread, it fails with wire.ErrBufferFull, and where there is no
// memory for a larger one with wire.ErrOverloaded. Moving
// invalidates all slices of Buffered.
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

// FillLine is Fill until a line end has come with it: a head that comes byte by
// byte is not worth parsing before.
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

// Enlarge makes the buffer a large one, for a body that is worth it, if there is
// memory for one.
func (c *Conn) Enlarge() {
	if len(c.buf) < LargeBuffer && c.hold(LargeBuffer) {
		Put(c.moveTo(GetLarge()))
	}
}

// EnlargeMore makes the buffer a huge one, if there is one to spare.
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

// moveTo moves the unread bytes to b, which becomes the buffer, and returns the
// one they were in. No other code goes on with another buffer: bytes that were
// left out here would make the next ones part of the wrong message.
func (c *Conn) moveTo(b []byte) (old []byte) {
	old, c.w, c.r, c.buf = c.buf, move(b, c.Buffered()), 0, b
	return old
}

// move copies all of src to the start of dst, and returns how many bytes that
// are.
func move(dst, src []byte) int {
	if len(src) > len(dst) {
		panic("socket: a buffer of " + strconv.Itoa(len(dst)) + " bytes for " + strconv.Itoa(len(src)) + " unread ones")
	}
	return copy(dst, src)
}

// Detach moves the unread bytes to a large buffer, or to a huge one when they
// are more, and returns the one they were in, so that slices of it stay valid
// through further reads. The caller gives it back with Put: meanwhile the
// connection has two.
func (c *Conn) Detach() []byte { return c.DetachFor(LargeBuffer) }

// DetachFor is Detach to a buffer that has room for n bytes and for those that are
// unread, up to a large one. Where there is no memory for that it is a small one,
// if the unread fit.
func (c *Conn) DetachFor(n int) []byte {
	unread := len(c.Buffered())
	if unread > LargeBuffer {
		return c.moveTo(getHuge()) // counted as the one before
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

// Release gives the buffer back when nothing is unread.
func (c *Conn) Release() {
	if c.buf != nil && c.r == c.w {
		c.letGo()
		Put(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
}

// LimitMemory makes the connection take its large buffers for m. It is called
// while there is none.
func (c *Conn) LimitMemory(m *memory.Client) { c.memory = m }

// hold makes n bytes the connection's part of the budget, and reports whether
// they may be.
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

// Reserved returns how many bytes of the budget the connection holds. It may be
// called while another goroutine uses c.
func (c *Conn) Reserved() int64 { return c.held.Load() }

// letGo gives back what the connection holds of the budget and of the huge
// buffers.
func (c *Conn) letGo() {
	if n := c.held.Swap(0); n > 0 {
		c.memory.Give(memory.Buffers, n)
	}
	if c.huge.CompareAndSwap(true, false) {
		returnHuge()
	}
}

// FillReady is Fill for bytes that are here already: it reads once without
// waiting, and reports whether anything came. Where it cannot read the socket
// itself, nothing ever does.
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

// Handler answers what has come on a connection.
type Handler interface {
	// Handle takes of what is buffered, and reports whether Serve is to go on.
	// It must not read from the connection or close it: for what cannot do
	// without, it returns false. It may write; as long as the socket takes all,
	// neither deadlines nor Interrupt keep it from that.
	Handle() (more bool)
}

// errServing says that a Handler breaks that rule.
var errServing = errors.New("read from a connection while its handler is at work")

// Serve calls h whenever something is buffered, until h says that it is enough,
// which is no error, or nothing more comes. It holds no buffer while it waits.
// What is known to follow a first byte, the rest of a TLS record, has to come
// within rest, or as soon as the deadline says.
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

// handle has the n bytes in b handled.
func (c *Conn) handle(b []byte, n int) (more bool) {
	c.buf, c.r, c.w = b, 0, n
	return c.handleBuffered()
}

// handleBuffered has all that is buffered handled, and gives the buffer back.
func (c *Conn) handleBuffered() (more bool) {
	for len(c.Buffered()) > 0 {
		if !c.handler.Handle() {
			return false
		}
	}
	c.Release()
	return true
}

// fillFromByte waits for one byte without a buffer, and then reads what has come
// with it into one.
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
		n, _ = c.Conn.Read(c.buf[1:]) // its error is the next read's
		c.w += n
	}
	return nil
}

// ShareWrites lets a goroutine write while another is within Serve. It is called before
// any other does. No two may write at once.
func (c *Conn) ShareWrites() { c.shared = true }

// Read reads from the connection, past the buffer.
func (c *Conn) Read(p []byte) (int, error) {
	if c.sys.ok() {
		return c.sys.read(p)
	}
	return c.Conn.Read(p)
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (int, error) {
	if c.sys.ok() {
		return c.sys.write(p)
	}
	return c.Conn.Write(p)
}

// Plain reports whether bytes go over the socket as they are: there is no TLS.
func (c *Conn) Plain() bool { return c.sys.ok() }

// Reusable reports whether an idle connection is still open with nothing to
// read: a byte nobody asked for would become the next request's answer.
func (c *Conn) Reusable() bool {
	return len(c.Buffered()) == 0 && c.quiet()
}

// ErrStale says that an idle connection was closed by its peer, or was sent
// bytes that nobody asked for. Nothing has been written to it.
var ErrStale = errors.New("idle connection is stale")

// Request writes a whole request, head and body, and reads the first bytes of
// its answer. Idle says that the connection has carried a request before: it is
// looked at first, and nothing is written when it fails with ErrStale.
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
		// The socket took only part of it at once.
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

// End is Close where no other goroutine reads: the buffer is given back too, and
// what is unread in it is lost.
func (c *Conn) End() error {
	Put(c.buf)
	c.buf, c.r, c.w = nil, 0, 0
	return c.Close()
}

// Close closes the connection. The buffer is left to the garbage collector,
// since another goroutine may still be reading into it.
func (c *Conn) Close() error {
	c.letGo()
	return c.Conn.Close()
}

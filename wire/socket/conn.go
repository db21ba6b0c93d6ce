package socket

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"serai/internal/memory"
	"serai/wire"
)

var _ wire.Source = (*Conn)(nil)

// Conn is a connection with a read buffer that is released while the connection is
// idle, and with deadlines that cost nothing unless they move. Only one goroutine at a
// time may use it, except for Close and Interrupt.
type Conn struct {
	sys     sysConn     // reads and writes the socket itself if possible
	handler Handler     // set by Serve
	records *recordConn // below TLS, nil when there is none

	buf  []byte // from the pool; nil while nothing is buffered
	r, w int    // buf[r:w] is unread

	readBy, writeBy  deadline    // the current deadlines
	readDue          bool        // readBy must be set before a read waits
	readTimer        atomic.Bool // a deadline of reads is set, perhaps an earlier one
	writeDue         bool        // writeBy must be set before a write waits
	interrupted      atomic.Bool
	readsInterrupted atomic.Bool    // only reads are interrupted
	huge             atomic.Bool    // buf is one of the counted huge buffers
	memory           *memory.Client // the client that large buffers count for, nil for no limit
	held             atomic.Int64   // bytes held of its memory
	first            [1]byte        // used by fillFromByte and tlsQuiet
	shared           bool           // several goroutines write, one after the other
	whole            bool           // set by ExpectWhole
	bounded          bool           // BoundUnsent holds; see FreeWhenFast
	bulk             int            // bytes of large writes while it does
	closed           atomic.Bool    // set by Close
	look             *look          // used by HungUp; nil until it is called

	net.Conn
}

// NewConn wraps c, and owns it from then on.
func NewConn(c net.Conn) *Conn {
	conn := new(Conn)
	conn.Init(c)
	return conn
}

// Init is NewConn for a Conn that is part of something larger. It may be called again
// when the previous connection is closed and nobody uses it any more.
func (c *Conn) Init(nc net.Conn) {
	*c = Conn{Conn: nc, sys: c.sys.reusable()}
	switch nc := nc.(type) {
	case syscall.Conn:
		c.sys.init(c, nc)
	case *tls.Conn:
		c.records, _ = nc.NetConn().(*recordConn)
	}
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
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.sys.ok() {
		n, err = c.sys.write(p, false)
	} else {
		if c.records != nil && len(p) > recordSize && len(p) <= oneSegment {
			c.records.announce(len(p))
		}
		n, err = c.Conn.Write(p)
	}
	c.noteWrite(n)
	return n, err
}

// WriteFirst is WriteNow for the goroutine that runs the handler of a plain socket: it needs
// no lock. For any other it writes nothing.
func (c *Conn) WriteFirst(p []byte) (n int, err error) {
	if c.sys.ok() && c.sys.triesFirst() {
		n, err = c.sys.writeFirst(p)
		c.noteWrite(n)
	}
	return n, err
}

// WriteNow writes as much of p as it can without waiting, and returns how much that is.
// With TLS it is Write, since a record cannot be written in part.
func (c *Conn) WriteNow(p []byte) (int, error) {
	if c.sys.ok() {
		return c.sys.writeNow(p)
	}
	return c.Write(p)
}

// Plain reports whether bytes are sent over the socket unchanged, without TLS.
func (c *Conn) Plain() bool { return c.sys.ok() }

// Reusable reports whether an idle connection is still open with nothing to read: an
// unsolicited byte would become the next request's answer. With TLS the connection is one of
// TLSClient, or never reusable. Bytes that it finds there are lost.
func (c *Conn) Reusable() bool {
	return len(c.Buffered()) == 0 && c.quiet() && c.tlsQuiet()
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
	c.releaseMemory()
	if c.closed.Swap(true) {
		return net.ErrClosed // the net package would allocate an error
	}
	return c.Conn.Close()
}

package socket

import (
	"cmp"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// serving is what Serve keeps of a connection below TLS.
type serving struct {
	reads   reads
	short   bool // the last read within the wait has left nothing in the socket
	sought  bool // the end that came with the first record has been looked for
	fd      uintptr
	err     error
	onServe func(fd uintptr) bool // serveOnce, made once
}

// serve reads records and has their content handled, for as long as the handler
// of c goes on, all within one wait for the socket: see sysConn.serve.
func (r *recordConn) serve(c *Conn, rest time.Duration) error {
	if r.onServe == nil {
		r.onServe = r.serveOnce
	}
	r.await(c, rest)
	r.sought, r.err = false, nil
	err := r.sys.raw.Read(r.onServe)
	r.conn = nil
	return cmp.Or(err, r.err)
}

// serveOnce reports whether the wait is over; else it goes on when the socket is
// readable.
func (r *recordConn) serveOnce(fd uintptr) (over bool) {
	r.fd, r.short = fd, false
	for {
		n, err := r.content()
		if n == 0 {
			Put(r.conn.buf)
			r.conn.buf = nil
			if err == errNotYet {
				return false
			}
			r.err = cmp.Or(err, io.ErrNoProgress)
			return true
		}
		r.reads = readsNothing
		more := r.conn.handleBuffered()
		r.reads = readsWait
		if !more {
			return true
		}
	}
}

// content reads into a buffer what has come. An error behind it is the next
// read's.
func (r *recordConn) content() (n int, err error) {
	c := r.conn
	c.buf, c.r, c.w = getTiny(), 0, 0
	r.reads = readsHere
	if c.w, err = c.Conn.Read(c.buf); c.w == len(c.buf) {
		Put(c.moveTo(GetSmall()))
		n, _ := c.Conn.Read(c.buf[c.w:])
		c.w += n
	}
	r.reads = readsWait
	return c.w, err
}

// readHere reads what is in the socket. After a read that left nothing there, what
// comes ends the wait, and need not be looked for but once: see
// sysConn.serveOnce.
func (r *recordConn) readHere(p []byte) (int, error) {
	if r.short {
		if r.sought {
			return 0, errNotYet
		}
		r.sought = true
	}
	for {
		n, errno := transfer(unix.SYS_RECVFROM, r.fd, p, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return 0, errNotYet
		case errno != 0:
			return 0, os.NewSyscallError("read", errno)
		case n == 0:
			return 0, io.EOF
		}
		r.short = n < len(p)
		return n, nil
	}
}

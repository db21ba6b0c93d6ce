package socket

import (
	"cmp"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// serving is the state of Serve for a connection below TLS.
type serving struct {
	reads      reads
	short      bool // the last read within the wait has left nothing in the socket
	finChecked bool // the FIN that may have come with the first record was looked for
	fd         uintptr
	err        error
	onServe    func(fd uintptr) bool // serveOnce, made once
}

// serve reads records and passes their content to the handler, for as long as the
// handler of c goes on, all within one wait for the socket: see sysConn.serve.
func (r *recordConn) serve(c *Conn, rest time.Duration) error {
	if r.onServe == nil {
		r.onServe = r.serveOnce
	}
	r.await(c, rest)
	r.finChecked, r.err = false, nil
	err := r.sys.raw.Read(r.onServe)
	r.conn = nil
	return cmp.Or(err, r.err)
}

// serveOnce reports whether the wait is over; otherwise it continues when the socket is
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

// content reads what has come into a buffer. An error after it is left to the next
// read.
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

// readHere reads what is in the socket. After a read that left nothing there, whatever
// comes ends the wait, so it is looked for only once: see sysConn.serveOnce.
func (r *recordConn) readHere(p []byte) (int, error) {
	if r.short {
		if r.finChecked {
			return 0, errNotYet
		}
		r.finChecked = true
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

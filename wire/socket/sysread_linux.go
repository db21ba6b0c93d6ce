package socket

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func (s *sysConn) readOnce(fd uintptr) bool {
	for {
		n, errno := transfer(unix.SYS_RECVFROM, fd, s.in, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		s.inN, s.inErr = n, errno
		return true
	}
}

// readIdleOnce reads into b, which it returns when there is nothing to read.
func (s *sysConn) readIdleOnce(fd uintptr, b []byte) bool {
	s.in = b
	if s.readOnce(fd) {
		return true
	}
	Put(b)
	s.in = nil
	return false
}

// readForHandler is readIdleOnce with a buffer for what is expected.
func (s *sysConn) readForHandler(fd uintptr) bool {
	switch {
	case s.conn.holdsWhole():
		if s.readIdleOnce(fd, getWhole()) {
			return true
		}
		s.conn.releaseMemory()
		return false
	case s.larger:
		return s.readIdleOnce(fd, GetSmall())
	}
	return s.readIdleOnce(fd, getTiny())
}

func (s *sysConn) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in = p
	err := s.wait(stepRead)
	s.in = nil
	return s.readResult(err)
}

// readReady reads what is here without waiting. Errors are left to the next read.
func (s *sysConn) readReady(p []byte) int {
	s.in = p
	err := s.wait(stepReady)
	s.in = nil
	if err != nil || s.inErr != 0 {
		return 0
	}
	return s.inN
}

// serve reads and calls the handler, for as long as the handler goes on, all within one
// wait for the socket. Go's poller is told only of changes, so usually a read must be
// tried in vain before each wait. Here the wait is armed before the read, so that
// whatever arrives after it ends the wait at once.
func (s *sysConn) serve() error {
	s.finChecked = false
	_, err := s.readResult(s.wait(stepServe))
	return err
}

// await waits until there is something to read, or the end has come.
func (s *sysConn) await() error { return s.wait(stepAwait) }

func (s *sysConn) serveOnce(fd uintptr) bool {
	for s.readForHandler(fd) {
		b, n := s.in, s.inN
		s.in = nil
		if s.inErr != 0 || n == 0 {
			Put(b)
			s.conn.releaseMemory()
			return true
		}
		full := n == len(b)
		if full && n == TinyBuffer {
			b, n = s.readOn(fd, b)
		}
		if len(b) == WholeBuffer && n <= SmallBuffer {
			b = s.conn.shrink(b[:n])
		}
		s.larger = n >= TinyBuffer
		s.serving, s.fd = true, fd
		more := s.conn.handle(b, n)
		s.serving = false
		if !more {
			return true
		}
		// Data that did not fit into a full buffer is no change, and neither is the FIN
		// of a client that closed its side with what it sent. That FIN is looked for
		// once, because such a client sends one request.
		if s.finChecked && !full {
			break
		}
		s.finChecked = true
	}
	return false
}

// readOn moves the bytes in full to a larger buffer, and reads what else is here.
// Errors are left to the next read.
func (s *sysConn) readOn(fd uintptr, full []byte) (b []byte, n int) {
	b = GetSmall()
	n = move(b, full)
	Put(full)
	s.in, s.inN = b[n:], 0
	s.readOnce(fd)
	s.in = nil
	if s.inErr == 0 {
		n += s.inN
	}
	return b, n
}

// request checks, writes and reads within one wait for the socket. Go's poller is told
// only of changes, so usually a read must be tried in vain before each wait. Here the
// check of the idle connection makes sure that nothing came before the wait began,
// which saves that read. Whole is false when the socket did not accept everything at
// once; then nothing was read, and rest returns what is left.
func (s *sysConn) request(head, body []byte, idle bool) (b []byte, n int, whole bool, err error) {
	s.asked, s.stale = false, false
	s.out, s.outBody, s.outErr = head, body, 0
	by := stepAsk
	if idle {
		by = stepReask
	}
	err = s.wait(by)
	b, s.in = s.in, nil
	switch {
	case s.stale:
		err = ErrStale
	case s.outErr != 0:
		err = os.NewSyscallError("write", s.outErr)
	case err == nil && len(s.out)+len(s.outBody) > 0:
		return nil, 0, false, nil
	default:
		if n, err = s.readResult(err); n == 0 && b != nil {
			Put(b)
			b = nil
		}
	}
	s.out, s.outBody = nil, nil
	return b, n, true, err
}

// rest returns what request could not write.
func (s *sysConn) rest() (head, body []byte) {
	head, body = s.out, s.outBody
	s.out, s.outBody = nil, nil
	return head, body
}

func (s *sysConn) askOnce(fd uintptr) bool {
	if s.asked {
		return s.readIdleOnce(fd, GetSmall())
	}
	s.asked = true
	if s.inStep == stepReask && !silent(fd) {
		s.stale = true
		return true
	}
	if !s.writeSome(fd) || s.outErr != 0 {
		return true
	}
	// Wait for the answer. A connection that was not checked is new: its peer has sent
	// nothing yet, but may have closed it.
	return s.inStep == stepAsk && s.readIdleOnce(fd, GetSmall())
}

// silent reports whether there is nothing to read on fd, not even a FIN.
func silent(fd uintptr) bool {
	var b [1]byte
	_, errno := transfer(unix.SYS_RECVFROM, fd, b[:], unix.MSG_PEEK)
	return errno == unix.EAGAIN
}

func (s *sysConn) readResult(err error) (int, error) {
	switch {
	case err != nil:
		return 0, err
	case s.inErr != 0:
		return 0, os.NewSyscallError("read", s.inErr)
	case s.inN == 0:
		return 0, io.EOF
	}
	return s.inN, nil
}

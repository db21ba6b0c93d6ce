package socket

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (s *sysConn) writeSome(fd uintptr) bool {
	for len(s.out)+len(s.outBody) > 0 {
		n, errno := s.writeOnce(fd)
		switch errno {
		case 0:
			head := min(n, len(s.out))
			s.out, s.outBody = s.out[head:], s.outBody[n-head:]
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			s.outErr = errno
			return true
		}
	}
	return true
}

func (s *sysConn) writeOnce(fd uintptr) (int, syscall.Errno) {
	switch {
	case s.more:
		return transfer(unix.SYS_SENDTO, fd, s.out, unix.MSG_NOSIGNAL|unix.MSG_MORE)
	case len(s.outBody) == 0:
		return transfer(unix.SYS_SENDTO, fd, s.out, unix.MSG_NOSIGNAL)
	case len(s.out) == 0:
		return transfer(unix.SYS_SENDTO, fd, s.outBody, unix.MSG_NOSIGNAL)
	}
	var vector [2]unix.Iovec
	for i, p := range [...][]byte{s.out, s.outBody} {
		vector[i].Base = unsafe.SliceData(p)
		vector[i].SetLen(len(p))
	}
	n, _, errno := syscall.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&vector)), uintptr(len(vector)))
	return int(n), errno
}

// triesFirst reports whether write tries to write before it takes the socket's lock and
// waits. It may do so only if the goroutine that runs the handler is the only writer.
func (s *sysConn) triesFirst() bool { return (s.conn == nil || !s.conn.shared) && s.serving }

// tryWrite is writeSome for callers that do not wait.
func (s *sysConn) tryWrite(fd uintptr) bool {
	s.writeSome(fd)
	return true
}

// writeFirst writes as much of p as the socket takes at once, if triesFirst.
func (s *sysConn) writeFirst(p []byte) (int, error) {
	s.out, s.outErr, s.more = p, 0, false
	s.writeSome(s.fd)
	return s.wrote(p, nil)
}

// writeNow writes as much of p as the socket takes at once.
func (s *sysConn) writeNow(p []byte) (int, error) {
	s.out, s.outErr, s.more = p, 0, false
	return s.wrote(p, s.raw.Write(s.onTry))
}

// wrote returns how much of p was written, and what the socket, or waiting for it, has
// failed with.
func (s *sysConn) wrote(p []byte, err error) (int, error) {
	n := len(p) - len(s.out)
	s.out = nil
	if err == nil && s.outErr != 0 {
		err = os.NewSyscallError("write", s.outErr)
	}
	return n, err
}

// write writes p, of which the kernel may keep a part until the next write if more is
// set.
func (s *sysConn) write(p []byte, more bool) (int, error) {
	s.out, s.outErr, s.more = p, 0, more
	var err error
	if !s.triesFirst() || !s.writeSome(s.fd) {
		if s.conn != nil {
			s.conn.setWriteDeadline()
		}
		err = s.raw.Write(s.onWrite)
	}
	return s.wrote(p, err)
}

package socket

import (
	"syscall"
	"unsafe"
)

// sysConn reads and writes a non-blocking socket directly. Unlike net.Conn it can wait
// without a buffer, and it skips Go's bookkeeping for system calls that block: these
// never do.
type sysConn struct {
	raw     syscall.RawConn
	onRead  func(fd uintptr) bool // readStep
	onWrite func(fd uintptr) bool // writeSome
	onTry   func(fd uintptr) bool // tryWrite
	conn    *Conn                 // the connection whose handler serve calls
	fd      uintptr               // the socket, while the handler runs

	// State of the current calls, one that reads and one that writes: the functions
	// passed to raw are made once, so that no call allocates.
	inStep     step
	finChecked bool // stepServe has checked for a FIN that came with the first bytes
	larger     bool // what came for the handler last time did not fit into a tiny buffer
	serving    bool // the handler is running
	asked      bool // stepAsk has written
	stale      bool // stepAsk has written nothing, because the connection is stale
	in         []byte
	inN        int
	inErr      syscall.Errno
	out        []byte
	outBody    []byte // sent after out
	outErr     syscall.Errno
	more       bool // more will follow out soon
}

// step is what a reading call does once the socket may be readable.
type step uint8

const (
	stepRead  step = iota // read into in, and wait until something comes
	stepReady             // read into in what is here
	stepServe             // read into a buffer, taken when something is here, for the handler
	stepAwait             // wait until something is here
	stepAsk               // write a request over a new connection, then read into such a buffer
	stepReask             // the same over a connection that was idle
)

func (s *sysConn) init(conn *Conn, c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	s.raw, s.conn = raw, conn
	if s.onRead == nil {
		s.onRead, s.onWrite, s.onTry = s.readStep, s.writeSome, s.tryWrite
	}
}

// reusable returns the parts that a new sysConn in the same place can reuse.
func (s *sysConn) reusable() sysConn {
	return sysConn{onRead: s.onRead, onWrite: s.onWrite, onTry: s.onTry}
}

// wait calls readStep until it is done. Waiting calls hold a lock of the socket: a
// handler that read from it again would wait for ever.
func (s *sysConn) wait(by step) error {
	if s.serving {
		return errServing
	}
	s.inStep, s.inN, s.inErr = by, 0, 0
	return s.raw.Read(s.onRead)
}

// readStep reports whether the call is done; otherwise it continues when the socket is
// readable.
func (s *sysConn) readStep(fd uintptr) bool {
	done := s.readNow(fd)
	if !done && s.conn != nil && s.conn.readDue {
		s.conn.setReadDeadline()
	}
	return done
}

// readNow is readStep without the deadline of a wait that follows.
func (s *sysConn) readNow(fd uintptr) bool {
	switch s.inStep {
	case stepRead:
		return s.readOnce(fd)
	case stepReady:
		s.inN = 0
		s.readOnce(fd)
		return true
	case stepServe:
		return s.serveOnce(fd)
	case stepAwait:
		return !silent(fd)
	}
	return s.askOnce(fd)
}

func (s *sysConn) ok() bool { return s.raw != nil }

func (s *sysConn) rawConn() syscall.RawConn { return s.raw }

// transfer calls recvfrom or sendto. They do the same as read and write without the
// file layer above sockets.
func transfer(trap, fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
	return int(n), errno
}

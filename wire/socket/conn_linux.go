package socket

import (
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysConn reads and writes a non-blocking socket directly. Unlike net.Conn it can wait
// without a buffer, and it skips Go's bookkeeping for system calls that block: these
// never do.
type sysConn struct {
	raw     syscall.RawConn
	onRead  func(fd uintptr) bool // readStep
	onWrite func(fd uintptr) bool // writeSome
	onTry   func(fd uintptr) bool // tryWrite
	conn    *Conn                 // whose handler serve calls
	fd      uintptr               // of the socket, while the handler runs

	// State of the current calls, one that reads and one that writes: the functions
	// passed to raw are made once, so that no call allocates.
	inStep  step
	sought  bool // stepServe has looked for a FIN that came with the first bytes
	larger  bool // what came for the handler last time did not fit into a tiny buffer
	serving bool // the handler is running
	asked   bool // stepAsk has written
	stale   bool // stepAsk has written nothing, because the connection is stale
	in      []byte
	inN     int
	inErr   syscall.Errno
	out     []byte
	outBody []byte // sent after out
	outErr  syscall.Errno
	more    bool // follows out soon
}

// step is what a reading call does once the socket may be readable.
type step uint8

const (
	stepRead  step = iota // into in, waiting for something to come
	stepReady             // into in, what is here
	stepServe             // into a buffer, taken when there is something, for the handler
	stepAwait             // nothing, but see that something is here
	stepAsk               // write a request over a new connection, then into such a buffer
	stepReask             // the same over one that was idle
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

// again returns what a sysConn in the same place has use for.
func (s *sysConn) again() sysConn {
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

// readIdleOnce takes a buffer, a small or a tiny one, and returns it when there is
// nothing to read.
func (s *sysConn) readIdleOnce(fd uintptr, small bool) bool {
	if small {
		s.in = GetSmall()
	} else {
		s.in = getTiny()
	}
	if s.readOnce(fd) {
		return true
	}
	Put(s.in)
	s.in = nil
	return false
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
	s.sought = false
	_, err := s.readResult(s.wait(stepServe))
	return err
}

// await waits until there is something to read, be it the end.
func (s *sysConn) await() error { return s.wait(stepAwait) }

func (s *sysConn) serveOnce(fd uintptr) bool {
	for s.readIdleOnce(fd, s.larger) {
		b, n := s.in, s.inN
		s.in = nil
		if s.inErr != 0 || n == 0 {
			Put(b)
			return true
		}
		full := n == len(b)
		if full && n == TinyBuffer {
			b, n = s.readOn(fd, b)
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
		if s.sought && !full {
			break
		}
		s.sought = true
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
		return s.readIdleOnce(fd, true)
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
	return s.inStep == stepAsk && s.readIdleOnce(fd, true)
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
// waits: only the goroutine writes that runs the handler.
func (s *sysConn) triesFirst() bool { return (s.conn == nil || !s.conn.shared) && s.serving }

// tryWrite is writeSome for who does not wait.
func (s *sysConn) tryWrite(fd uintptr) bool {
	s.writeSome(fd)
	return true
}

// writeNow writes as much of p as the socket takes at once.
func (s *sysConn) writeNow(p []byte) (int, error) {
	s.out, s.outErr, s.more = p, 0, false
	err := s.raw.Write(s.onTry)
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
	n := len(p) - len(s.out)
	s.out = nil
	if err == nil && s.outErr != 0 {
		err = os.NewSyscallError("write", s.outErr)
	}
	return n, err
}

// transfer calls recvfrom or sendto. They do the same as read and write without the
// file layer above sockets.
func transfer(trap, fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
	return int(n), errno
}

// quiet reports whether nothing is waiting to be read on the socket, not even a FIN.
// With TLS it checks the socket below: a late session ticket makes a connection look
// used, which costs a handshake but is not wrong.
func (c *Conn) quiet() bool {
	raw := c.rawConn()
	if raw == nil {
		return false
	}
	quiet := false
	err := raw.Control(func(fd uintptr) { quiet = silent(fd) })
	return err == nil && quiet
}

// TCP states, from <netinet/tcp.h>; unix has no names for them.
const (
	tcpEstablished = 1
	tcpClose       = 7
)

// PeerGone reports whether the peer has closed the connection, or only its sending
// side, which looks the same until something is sent. It does not read, and may be
// called while another goroutine uses c.
func (c *Conn) PeerGone() bool {
	info, ok := c.tcpInfo()
	return ok && info.State != tcpEstablished
}

// Dead reports whether the peer has reset the connection, so that nothing can be sent
// any more. It may be called while another goroutine uses c.
func (c *Conn) Dead() bool {
	info, ok := c.tcpInfo()
	return ok && info.State == tcpClose
}

// Lost reports whether the network path to the peer seems to be cut: what was written
// was retransmitted several times without an acknowledgement, or a peer that accepts no
// more does not answer when the kernel asks it whether it does. It may be called while
// another goroutine uses c.
func (c *Conn) Lost() bool {
	// With the shortest timeout, 200 ms that double, after 1.4 s of silence.
	const again = 3
	info, ok := c.tcpInfo()
	return ok && (info.Unacked > 0 && info.Retransmits >= again || info.Probes >= again)
}

func (c *Conn) tcpInfo() (info unix.TCPInfo, ok bool) {
	raw := c.rawConn()
	if raw == nil {
		return info, false
	}
	err := raw.Control(func(fd uintptr) {
		if got, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			info, ok = *got, true
		}
	})
	return info, ok && err == nil
}

// GiveUpAfter closes a socket, and the sockets that it accepts as a listener, when for
// this long data is not acknowledged, or the peer accepts no more (TCP_USER_TIMEOUT,
// tcp(7)). Without it the kernel retransmits for a quarter of an hour to a peer whose
// network is gone.
func GiveUpAfter(c syscall.RawConn, d time.Duration) error {
	return SetOptions(c, Option{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())})
}

// ProbeSilent makes a socket, and the sockets that it accepts as a listener, probe a
// peer that has been silent for 15 seconds every 15 seconds, and close after 9 probes
// without an answer (tcp(7)). The net package does the same for every connection, with
// four system calls; on the listener one time is enough.
func ProbeSilent(c syscall.RawConn) error {
	return SetOptions(c, Option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		Option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		Option{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		Option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9})
}

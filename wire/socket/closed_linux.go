package socket

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ClosedFor returns how long ago the peer closed the connection with a FIN, as the
// kernel knows; ok is false when it has not, or when a reset hides it. It reads
// nothing.
func (c *Conn) ClosedFor() (d time.Duration, ok bool) {
	info, ok := c.tcpInfo()
	// From <netinet/tcp.h>: the peer's FIN has come, and ours has not been sent. The
	// FIN was the last segment with an acknowledgement.
	const closeWait = 8
	if !ok || info.State != closeWait {
		return 0, false
	}
	return time.Duration(info.Last_ack_recv) * time.Millisecond, true
}

// look is the state of HungUp, made once so that no call allocates.
type look struct {
	raw  syscall.RawConn // nil if there is none
	at   func(fd uintptr)
	seen bool
}

// HungUp reports whether the peer has closed the connection or its sending side, or has
// reset it, whatever has come before that and was not read. Another goroutine may read
// from c meanwhile, but only one at a time may call it.
func (c *Conn) HungUp() bool {
	if c.look == nil {
		l := &look{raw: c.rawConn()}
		l.at = func(fd uintptr) { l.seen = hungUp(fd) }
		c.look = l
	}
	l := c.look
	return l.raw != nil && (l.raw.Control(l.at) != nil || l.seen)
}

// hungUp checks without waiting.
func hungUp(fd uintptr) bool {
	asked := unix.PollFd{Fd: int32(fd), Events: unix.POLLRDHUP}
	var none unix.Timespec
	n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&asked)), 1, uintptr(unsafe.Pointer(&none)), 0, 0, 0)
	return errno == 0 && n > 0
}

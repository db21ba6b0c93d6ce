package socket

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// settled reports whether nothing waits in the socket either way: the peer has
// acknowledged all that it was sent, and nothing has come that was not read. Then
// it makes no difference what it sends after the end.
func settled(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	// From <linux/sock_diag.h>: both queues in one system call. They are counted
	// in memory, not in bytes, and empty when there is none.
	const received, toSend, backlog, fields = 0, 5, 7, 9
	var info [fields]uint32
	size := uint32(unsafe.Sizeof(info))
	errno := unix.EBADF
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	return err == nil && errno == 0 && size > backlog*4 && info[received]|info[toSend]|info[backlog] == 0
}

// lookAgain is how soon it is looked whether the peer has acknowledged all.
const lookAgain = 50 * time.Millisecond

// linger discards what comes until the peer has closed its side, or a bound of
// l's is reached. The kernel discards: no buffer is held meanwhile.
func linger(c *net.TCPConn, l Lingering) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	left, ended := l.Bytes, false
	discard := func(fd uintptr) bool {
		for left > 0 {
			n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, 0, uintptr(left), unix.MSG_TRUNC, 0, 0)
			switch {
			case errno == unix.EINTR:
				continue
			case errno == unix.EAGAIN:
				return false
			case errno != 0 || n == 0:
				ended = true
				return true
			}
			left -= int(n)
		}
		ended = true
		return true
	}
	began := time.Now()
	progress, queued := began, -1
	for wait := lookAgain; ; wait = min(2*wait, l.Quiet) {
		c.SetReadDeadline(time.Now().Add(wait))
		if err := raw.Read(discard); ended || !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		n := 0
		raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
		now := time.Now()
		if queued < 0 || n < queued {
			progress, queued = now, n // a slow peer is still taking what is queued
		}
		if n == 0 && !l.Expected || now.Sub(progress) >= l.Quiet || now.Sub(began) >= l.Longest {
			return
		}
	}
}

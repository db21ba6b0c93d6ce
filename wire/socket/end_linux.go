package socket

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// queues reads what waits in a socket in both directions. queues are reused, with the
// function that reads, so that closing a connection allocates nothing.
type queues struct {
	// From <linux/sock_diag.h>: both queues in one system call. They are counted in
	// memory, not in bytes, and are 0 when empty.
	info [9]uint32
	ok   bool
	look func(fd uintptr)
}

const (
	queueReceived = 0
	queueToSend   = 5
	queueBacklog  = 7
)

var queuesPool = sync.Pool{New: func() any {
	q := new(queues)
	q.look = func(fd uintptr) {
		size := uint32(unsafe.Sizeof(q.info))
		_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&q.info)), uintptr(unsafe.Pointer(&size)), 0)
		q.ok = errno == 0 && size > queueBacklog*4
	}
	return q
}}

// settled reports whether nothing waits in the socket in either direction: the peer has
// acknowledged everything, and everything that has come was read. Then it does not
// matter what the peer sends after the close.
func settled(raw syscall.RawConn) bool {
	q := queuesPool.Get().(*queues)
	defer queuesPool.Put(q)
	q.ok = false
	err := raw.Control(q.look)
	return err == nil && q.ok && q.info[queueReceived]|q.info[queueToSend]|q.info[queueBacklog] == 0
}

// lookAgain is the time between checks whether the peer has acknowledged everything.
const lookAgain = 50 * time.Millisecond

// linger discards what comes until the peer has closed its side, or a limit of l is
// reached. The kernel discards, so no buffer is held meanwhile.
func linger(c *net.TCPConn, raw syscall.RawConn, l Lingering) {
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
			progress, queued = now, n // a slow peer still reads what is queued
		}
		if n == 0 && !l.Expected || now.Sub(progress) >= l.Quiet || now.Sub(began) >= l.Longest {
			return
		}
	}
}

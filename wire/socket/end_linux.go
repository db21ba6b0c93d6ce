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

// remains is what a peer still sends. The kernel discards it, so that no buffer is held
// meanwhile. remains are reused, like queues.
type remains struct {
	left    int  // bytes that may still be discarded
	ended   bool // all of them were discarded, or the peer has closed its side
	discard func(fd uintptr) bool
	queued  int // bytes that the peer has not acknowledged
	count   func(fd uintptr)
}

var remainsPool = sync.Pool{New: func() any {
	r := new(remains)
	r.discard = r.discardOnce
	r.count = func(fd uintptr) { r.queued, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) }
	return r
}}

// discardOnce discards what is here, and reports whether nothing more will be
// discarded.
func (r *remains) discardOnce(fd uintptr) bool {
	for r.left > 0 {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, 0, uintptr(r.left), unix.MSG_TRUNC, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return false
		case errno != 0 || n == 0:
			r.ended = true
			return true
		}
		r.left -= int(n)
	}
	r.ended = true
	return true
}

// linger discards what comes until the peer has closed its side, or a limit of l is
// reached.
func linger(c *net.TCPConn, raw syscall.RawConn, l Lingering) {
	r := remainsPool.Get().(*remains)
	defer remainsPool.Put(r)
	r.left, r.ended = l.Bytes, false
	began := time.Now()
	progress, queued := began, -1
	for wait := lookAgain; ; wait = min(2*wait, l.Quiet) {
		c.SetReadDeadline(time.Now().Add(wait))
		if err := raw.Read(r.discard); r.ended || !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		r.queued = 0
		raw.Control(r.count)
		now := time.Now()
		if queued < 0 || r.queued < queued {
			progress, queued = now, r.queued // a slow peer still reads what is queued
		}
		if r.queued == 0 && !l.Expected || now.Sub(progress) >= l.Quiet || now.Sub(began) >= l.Longest {
			return
		}
	}
}

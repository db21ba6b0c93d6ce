package pace

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// Yield lets others run first, also those that wait for the network. runtime.Gosched does not look at the
// network while anything can run, and the caller itself can: with one processor, or with the others busy,
// only the runtime's monitor looks, every ten milliseconds. So Yield waits for a byte, which comes at once. The
// poller brings whatever else has come with it.
func Yield() {
	yieldProcessor()
	p, _ := pipes.Get().(*pipe)
	if p == nil || !p.pass() {
		runtime.Gosched() // file descriptors have run out
		return
	}
	pipes.Put(p)
}

// pipes are as many as there are goroutines that yield at once. One that is forgotten is closed by package os.
var pipes = sync.Pool{New: func() any {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	raw, err := r.SyscallConn()
	if err != nil {
		return nil
	}
	return &pipe{raw, w}
}}

type pipe struct {
	from syscall.RawConn
	to   *os.File
}

// pass passes a byte through the pipe, and waits for it before there is one. It reports whether that went well.
func (p *pipe) pass() bool {
	var b [1]byte
	written, n := false, 0
	var failed error
	err := p.from.Read(func(fd uintptr) bool {
		if !written {
			written = true
			_, failed = p.to.Write(b[:])
			return failed != nil
		}
		n, failed = syscall.Read(int(fd), b[:])
		return failed != syscall.EAGAIN && failed != syscall.EINTR
	})
	return err == nil && failed == nil && n == 1
}

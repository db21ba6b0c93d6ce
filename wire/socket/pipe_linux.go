package socket

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"serai/wire"
)

// Pipe moves bytes of large bodies from one socket to another within the kernel
// (splice(2)), without copying them to user space. It is filled and then drained,
// repeatedly.
type Pipe struct {
	r, w int
	held int // bytes in the pipe
	// unfit says that the system cannot splice these sockets.
	unfit bool

	// State of the current call; the functions are made once.
	most    int
	n       int
	err     error
	onFill  func(fd uintptr) bool
	onDrain func(fd uintptr) bool
}

// NewPipe makes a Pipe for a body of size bytes. It is nil if the body is too small, if
// hugeAtOnce huge buffers and Pipes are in use, or if the system has none.
func NewPipe(size int64) *Pipe {
	if size < pipeFrom || !takeHuge() {
		return nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		returnHuge()
		return nil
	}
	p := &Pipe{r: ends[0], w: ends[1]}
	p.onFill, p.onDrain = p.fillOnce, p.drainOnce
	unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, HugeBuffer) // or as much as the system permits
	return p
}

// Close returns the pipe, with its content. A nil Pipe has nothing to return.
func (p *Pipe) Close() {
	if p != nil {
		unix.Close(p.r)
		unix.Close(p.w)
		returnHuge()
	}
}

// fit reports whether there is a pipe that has not failed to splice.
func (p *Pipe) fit() bool { return p != nil && !p.unfit }

// Pull moves the next bytes of a body that is read from c into the empty pipe, and
// returns how many. It returns 0 and no error if only the body's Next has them: there
// is no pipe, they have been read already, or they are changed on the socket (TLS).
// Errors are those of Next.
func (p *Pipe) Pull(b *wire.Body, c *Conn) (int, error) {
	if !p.fit() || !c.Plain() {
		return 0, nil
	}
	left := b.Direct()
	if left == 0 {
		return 0, nil
	}
	n, err := p.fill(c, left)
	return n, b.Took(n, err)
}

// fill moves up to most bytes from c into the pipe, and returns how many.
func (p *Pipe) fill(c *Conn, most int64) (int, error) {
	p.most, p.n, p.err = int(min(most, HugeBuffer)), 0, nil
	c.setReadDeadline()
	if err := c.sys.raw.Read(p.onFill); err != nil {
		return 0, err
	}
	p.held = p.n
	return p.n, p.err
}

// Drain moves the whole content of the pipe to c.
func (p *Pipe) Drain(c *Conn) error {
	p.err = nil
	n := p.held
	c.setWriteDeadline()
	if err := c.sys.raw.Write(p.onDrain); err != nil {
		return err
	}
	c.noteWrite(n - p.held)
	return p.err
}

func (p *Pipe) fillOnce(fd uintptr) bool {
	n, done, err := spliceOnce(int(fd), p.w, p.most)
	switch {
	case !done:
		return false
	case err == unix.EINVAL || err == unix.ENOSYS:
		p.unfit = true
	case err != nil:
		p.err = os.NewSyscallError("splice", err)
	case n == 0:
		p.err = io.EOF
	default:
		p.n = n
	}
	return true
}

func (p *Pipe) drainOnce(fd uintptr) bool {
	for p.held > 0 {
		n, done, err := spliceOnce(p.r, int(fd), p.held)
		switch {
		case !done:
			return false
		case err != nil:
			p.err = os.NewSyscallError("splice", err)
			return true
		}
		p.held -= n
	}
	return true
}

// spliceOnce calls splice. Done is false if it would have to wait.
func spliceOnce(from, to, most int) (n int, done bool, err error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, false, nil
		default:
			return int(n), true, err
		}
	}
}

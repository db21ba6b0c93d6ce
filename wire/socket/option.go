package socket

import (
	"syscall"

	"golang.org/x/sys/unix"

	"serai/internal/memory"
)

// Option is a socket option with an integer value (socket(7), tcp(7)).
type Option struct{ Level, Name, Value int }

// SetOptions sets options of a socket, in their order, until one is refused.
func SetOptions(c syscall.RawConn, options ...Option) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		for _, o := range options {
			if err = unix.SetsockoptInt(int(fd), o.Level, o.Name, o.Value); err != nil {
				return
			}
		}
	}); e != nil {
		return e
	}
	return err
}

// A peer that has taken so many bytes in large writes reads fast enough to be worth as much as
// the kernel takes for it. All but what BoundUnsent leaves, and the peer's first window, it has
// read by then.
const (
	largeWrite = 16 << 10
	fastAfter  = 512 << 10
)

// FreeWhenFast says that BoundUnsent holds for the connection, and has that end when its peer has
// shown to read fast.
func (c *Conn) FreeWhenFast() { c.bounded = true }

// noteWrite counts n bytes of a write for FreeWhenFast, unless memory runs low: to fast peers less
// would be written at a time, at a tenth more CPU and above.
func (c *Conn) noteWrite(n int) {
	if !c.bounded || n < largeWrite {
		return
	}
	if c.bulk += n; c.bulk >= fastAfter && !c.memory.RunsLow(memory.Buffers) {
		c.bounded = false
		if raw := c.rawConn(); raw != nil {
			freeUnsent(raw) // where it fails, the bound stays
		}
	}
}

package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
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

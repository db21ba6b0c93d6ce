//go:build !linux

package socket

import (
	"net"
	"syscall"
	"time"
)

// settled is not supported here.
func settled(syscall.RawConn) bool { return false }

// linger discards what comes for at most l.Quiet.
func linger(c *net.TCPConn, _ syscall.RawConn, l Lingering) {
	c.SetReadDeadline(time.Now().Add(l.Quiet))
	b := GetSmall()
	defer Put(b)
	for left := l.Bytes; left > 0; {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
}

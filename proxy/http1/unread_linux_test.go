package http1_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUnreadIsRepeated: an instance that is stopped closes connections whose
// requests it has received and not read. Even a POST then goes elsewhere.
func TestUnreadIsRepeated(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				awaitUnread(c.(*net.TCPConn))
				c.Close()
			}()
		}
	}()
	k := newStack(t, settings{})
	good := newOrigin(t)
	go good.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
	k.service("web", []string{l.Addr().String(), good.address}, "ingress.host=a.test", "ingress.lb=round-robin", "ingress.retries=0")
	for range 8 {
		c := k.dial()
		c.send("POST / HTTP/1.1", "Host: a.test", "Content-Length: 1", "", "x")
		c.status("POST", 200, "")
		c.Close()
	}
}

// awaitUnread returns when there is something to read on c, or c has waited
// for long.
func awaitUnread(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	for end := time.Now().Add(long); err == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		n := 0
		if raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); n > 0 {
			return
		}
	}
}

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
	k.awaitReady()
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

// TestRetriesCountRepeatsOnly: an attempt of which nothing was processed does
// not use up the one retry that the tag allows.
func TestRetriesCountRepeatsOnly(t *testing.T) {
	for range 10 {
		k := newStack(t, settings{})
		gone, closing, good := newOrigin(t), newOrigin(t), newOrigin(t)
		go closing.serve("") // reads, and closes
		go good.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
		k.service("web", []string{gone.address, closing.address, good.address}, "ingress.host=a.test", "ingress.lb=random", "ingress.retries=1")
		k.awaitReady()
		gone.port.Close()
		go gone.serve("") // over the connection that the probe has made
		c := k.dial()
		c.send("GET / HTTP/1.1", "Host: a.test", "")
		c.status("GET", 200, "")
		c.Close()
		k.stop()
	}
}

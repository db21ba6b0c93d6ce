package agentapi

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSilenceIsBounded: the kernel ends a connection whose other end has vanished, at rest
// and when something was sent.
func TestSilenceIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := ParseAddress("consul", "http://"+l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewTransport(a, 1).DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (value int) {
		t.Helper()
		if failed := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); failed != nil || err != nil {
			t.Fatal(failed, err)
		}
		return value
	}
	if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 {
		t.Error("no keep-alive")
	}
	idle, interval, count := option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	if most := idle + interval*count; most > 30 {
		t.Errorf("an end that has vanished is noticed after %d s: %d + %d times %d", most, idle, count, interval)
	}
	if ms := option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); ms != 30_000 {
		t.Errorf("what is not acknowledged is waited for %d ms", ms)
	}
}

package front

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"serai/wire/socket"
)

// TestUnsentIsBounded: a client that reads nothing has little more than its own window sent to
// it. The kernel would take 4 MiB for each.
func TestUnsentIsBounded(t *testing.T) {
	client, c := accepted(t)
	if err := client.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for piece := make([]byte, 64<<10); ; {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := c.Write(piece)
		if taken += n; err == nil && taken < 64<<20 {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		break
	}
	if most := 512 << 10; taken > most {
		t.Errorf("%d bytes are taken for a client that reads nothing, more than %d", taken, most)
	}
	t.Log(taken)
}

// TestFastReadersAreNotBounded: a client that has read so much may have all that the kernel
// takes, which needs fewer writes.
func TestFastReadersAreNotBounded(t *testing.T) {
	client, nc := accepted(t)
	c := socket.NewConn(nc)
	c.FreeWhenFast()
	bound := func() (n int) {
		raw, err := nc.(syscall.Conn).SyscallConn()
		if err == nil {
			raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT) })
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := bound(); got != 64<<10 {
		t.Errorf("at first %d bytes may wait", got)
	}
	go io.Copy(io.Discard, client)
	for range 8 {
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if got := bound(); got != 0 {
		t.Errorf("after half a MiB %d bytes may wait, want no bound", got)
	}
}

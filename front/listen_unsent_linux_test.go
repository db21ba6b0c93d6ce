package front_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"serai/front"
)

// TestUnsentIsBounded: a client that reads nothing has little more than its own window sent to
// it. The kernel would take 4 MiB for each.
func TestUnsentIsBounded(t *testing.T) {
	l, err := front.Listen("127.0.0.1:0", false, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
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
